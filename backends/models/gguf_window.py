"""A window that moves over a file of claimed lengths, and the one place where its bytes come in.

Every read is checked against the size of the file first. Reads go through ``read``, never through a memory map: a file
that shrinks while it is read must not end the process (SIGBUS).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from backends.errors import ModelFileError

_MAX_HEADER = 1 << 30
_WINDOW = 1 << 20


def shown(path: Path) -> str:
    """A path as it may be printed: a file name is foreign text and can hold terminal escapes."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


class Window:
    """Reads numbers and texts one after the other; whatever is wrong is one ``ModelFileError``."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._base = 0
        self._buffer = b""
        self._at = 0

    def _fail(self, what: str) -> NoReturn:
        """End with one sentence that begins with the file."""
        raise ModelFileError(f"{shown(self._path)} {what}")

    def _cut(self) -> NoReturn:
        """End because the file does."""
        self._fail(
            f"is cut short: its header goes on past the end of the file ({self._size:,} bytes); fetch or copy it again"
        )

    @property
    def _position(self) -> int:
        """Bytes from the start of the file."""
        return self._base + self._at

    def _need(self, count: int) -> None:
        """Have ``count`` bytes from the current position in the buffer."""
        if len(self._buffer) - self._at >= count:
            return
        if self._position + count > self._size:
            self._cut()
        if self._position > _MAX_HEADER:
            self._fail("is damaged: its header is larger than 1 GiB")
        self._base, self._at, rest = self._position, 0, self._buffer[self._at :]
        self._buffer = rest + self._file.read(max(count, _WINDOW) - len(rest))
        if len(self._buffer) < count:
            self._cut()

    def _skip(self, count: int) -> None:
        """Step over bytes without keeping them."""
        if self._position + count > self._size:
            self._cut()
        if len(self._buffer) - self._at >= count:
            self._at += count
            return
        self._base, self._at, self._buffer = self._position + count, 0, b""
        self._file.seek(self._base)

    def _number(self, form: str) -> int:
        """One little-endian number."""
        size = struct.calcsize("<" + form)
        self._need(size)
        (value,) = struct.unpack_from("<" + form, self._buffer, self._at)
        self._at += size
        return int(value)

    def _text(self, limit: int, what: str) -> str:
        """One length-prefixed text of at most ``limit`` bytes."""
        length = self._number("Q")
        if length > limit:
            self._fail(f"is damaged: {what} claims a length of {length:,} bytes")
        self._need(length)
        raw = self._buffer[self._at : self._at + length]
        self._at += length
        return raw.decode("utf-8", errors="replace")
