"""Reads the header of one GGUF file and believes nothing it says.

The header is parsed by this reader before native code sees the file, because llama.cpp answers some damage with a
page of log lines and some with an abort. Every count, length, type, shape and offset is checked against what the
format allows and against the size of the file; whatever is wrong becomes one ``ModelFileError`` sentence.
``gguf_window`` brings the bytes.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian. The checks are
those of llama.cpp's own loader (tensors lie in order, without gaps), plus bounds that keep a hostile file cheap.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.errors import ModelFileError
from backends.models.gguf_types import TYPES, TensorType
from backends.models.gguf_window import Window, shown

__all__ = ["Header", "Tensor", "Value", "read_header", "shown"]

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]

_MAGIC = b"GGUF"
_MAX_VERSION = 3
_MAX_KEY = 1 << 16
_MAX_TEXT = 1 << 26
"""64 MiB: chat templates are kilobytes."""
_MAX_ITEMS = 1 << 24
"""Longest array (a vocabulary holds at most about a million entries)."""
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_NAME = 64
_KEEP_ITEMS = 4096
"""Longer arrays (the vocabulary, its scores and merges) are skipped; only their length is kept."""

_WORDS = "tokenizer.ggml.tokens"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the tensor list."""

    name: str
    shape: tuple[int, ...]
    """Row length first, as the file has it."""
    kind: TensorType
    offset: int
    """Bytes from the start of the file."""

    @property
    def bytes(self) -> int:
        """Size of its data."""
        return self.kind.size(self.shape)

    @property
    def elements(self) -> int:
        """Number of weights."""
        return self.kind.block * (self.bytes // self.kind.bytes)


@dataclass(frozen=True, slots=True)
class Header:
    """What one GGUF file says about itself."""

    path: Path
    version: int
    size: int
    """Bytes of the file."""
    metadata: Mapping[str, Value]
    """Scalars, texts and short arrays."""
    lengths: Mapping[str, int]
    """Key of every array -> its number of entries, also of those too long to keep."""
    tensors: tuple[Tensor, ...]
    data_offset: int


def read_header(path: Path) -> Header:
    """The checked header of a GGUF file.

    Raises:
        ModelFileError: the file is missing, not a regular file, unreadable, not GGUF, damaged or cut short.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise ModelFileError(f"{shown(path)} is {kind}; name a GGUF file")
        with path.open("rb") as file:
            return _Reader(path, file).header()
    except FileNotFoundError:
        raise ModelFileError(f"{shown(path)}: no such file") from None
    except OSError as error:
        raise ModelFileError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL in it
        raise ModelFileError(f"{shown(path)} is not a usable path: {error}") from error


class _Reader(Window):
    """Reads the parts of a header in the order of the file."""

    # Parts of the header ----------------------------------------------------------------------------------------

    def header(self) -> Header:
        version, n_tensors, n_pairs = self._opening()
        metadata: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(n_pairs):
            self._pair(metadata, lengths)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1) or alignment > 1 << 20:
            self._fail("is damaged: general.alignment is not a power of two")
        entries = self._entries(n_tensors)
        start = -(-self._position // alignment) * alignment
        tensors = self._placed(entries, start, alignment)
        return Header(self._path, version, self._size, metadata, lengths, tensors, start)

    def _opening(self) -> tuple[int, int, int]:
        if self._size == 0:
            self._fail("is empty; fetch or copy it again")
        magic = self._file.read(4)
        self._file.seek(0)
        if magic != _MAGIC[: len(magic)]:
            self._fail(_what_instead(magic))
        self._skip(4)
        version = self._number("I")
        if version and version & 0xFFFF == 0:
            self._fail("is a big-endian GGUF file, which this machine cannot run")
        if version == 1:
            self._fail("is GGUF version 1, which llama.cpp no longer reads; convert the model again")
        if not 1 < version <= _MAX_VERSION:
            self._fail(f"claims GGUF version {version}; fovea reads versions 2 and {_MAX_VERSION}")
        n_tensors, n_pairs = self._number("Q"), self._number("Q")
        # An entry takes at least this many bytes, so larger counts cannot be true.
        if n_tensors > min(_MAX_TENSORS, self._size // 24) or n_pairs > min(_MAX_PAIRS, self._size // 13):
            if self._size < 1 << 16:
                self._cut()
            self._fail(f"is damaged: it claims {n_tensors:,} tensors and {n_pairs:,} settings")
        return version, n_tensors, n_pairs

    def _pair(self, metadata: dict[str, Value], lengths: dict[str, int]) -> None:
        key = self._text(_MAX_KEY, "a setting's name")
        if not key or key in metadata or key in lengths:
            self._fail("is damaged: a setting has no name or stands twice")
        kind = self._number("I")
        if kind == _ARRAY:
            kind, count = self._number("I"), self._number("Q")
            if count > _MAX_ITEMS:
                self._fail(f"is damaged: an array of its settings claims {count:,} entries")
            lengths[key] = count
            if key == _WORDS:
                self._check_words(kind, count)
            elif (items := self._array(kind, count)) is not None:
                metadata[key] = items
        elif kind == _STRING:
            metadata[key] = self._text(_MAX_TEXT, "a setting")
        else:
            metadata[key] = self._scalars(kind, 1)[0]

    def _scalars(self, kind: int, count: int) -> tuple[Scalar, ...]:
        form = _SCALARS.get(kind)
        if form is None:
            self._fail(f"is damaged: a setting has the unknown type {kind}")
        size = struct.calcsize("<" + form) * count
        self._need(size)
        values = struct.unpack_from(f"<{count}{form}", self._buffer, self._at)
        self._at += size
        return values

    def _array(self, kind: int, count: int) -> tuple[Scalar, ...] | None:
        if kind != _STRING:
            if count <= _KEEP_ITEMS:
                return self._scalars(kind, count)
            form = _SCALARS.get(kind)
            if form is None:
                self._fail(f"is damaged: a setting has the unknown type {kind}")
            self._skip(struct.calcsize("<" + form) * count)
            return None
        if self._position + 8 * count > self._size:
            self._cut()
        if count <= _KEEP_ITEMS // 64:
            return tuple(self._text(_MAX_TEXT, "an entry of a list") for _ in range(count))
        self._skip_texts(count)
        return None

    def _check_words(self, kind: int, count: int) -> None:
        """The vocabulary: only checked, because llama.cpp aborts the process where a word stands twice."""
        if kind != _STRING:
            self._fail("is damaged: its vocabulary is not a list of texts")
        if self._position + 8 * count > self._size:
            self._cut()
        seen: set[bytes] = set()
        empty = 0
        length_of = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if len(self._buffer) - self._at < 8:
                self._need(8)
            (length,) = length_of(self._buffer, self._at)
            if length > _MAX_KEY:
                self._fail(f"is damaged: a word of its vocabulary claims a length of {length:,} bytes")
            if self._at + 8 + length > len(self._buffer):
                self._need(8 + length)
            end = self._at + 8 + length
            seen.add(self._buffer[self._at + 8 : end])
            self._at = end
            empty += not length
        if len(seen) + max(empty - 1, 0) != count:
            self._fail("is damaged: a word stands twice in its vocabulary")

    def _skip_texts(self, count: int) -> None:
        """Step over a list of texts: a vocabulary of 150,000 in about 50 ms."""
        length_of = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if len(self._buffer) - self._at < 8:
                self._need(8)
            (length,) = length_of(self._buffer, self._at)
            end = self._at + 8 + length
            if end <= len(self._buffer):
                self._at = end
            elif length > _MAX_TEXT:
                self._fail(f"is damaged: an entry of a list claims a length of {length:,} bytes")
            else:
                self._skip(8 + length)

    def _entries(self, count: int) -> list[tuple[str, tuple[int, ...], TensorType, int]]:
        entries: list[tuple[str, tuple[int, ...], TensorType, int]] = []
        names: set[str] = set()
        for _ in range(count):
            name = self._text(_MAX_KEY, "a tensor's name")
            if len(name.encode()) >= _MAX_NAME or name in names:
                self._fail("is damaged: a tensor's name is too long or stands twice")
            names.add(name)
            n_dims = self._number("I")
            if n_dims > 4:
                self._fail(f"is damaged: a tensor claims {n_dims} dimensions")
            shape = tuple(self._number("Q") for _ in range(n_dims)) or (1,)
            number = self._number("I")
            offset = self._number("Q")
            entries.append((name, shape, self._kind(number, shape), offset))
        return entries

    def _kind(self, number: int, shape: tuple[int, ...]) -> TensorType:
        kind = TYPES.get(number)
        if kind is None:
            self._fail(f"holds a tensor of type {number}, which this version of llama.cpp does not know")
        # One dimension alone may exceed the file; their product is compared with the file's size afterwards.
        if any(length >= 1 << 40 for length in shape) or shape[0] % kind.block:
            self._fail(f"is damaged: a {kind.name} tensor has the impossible shape {list(shape)}")
        return kind

    def _placed(
        self, entries: list[tuple[str, tuple[int, ...], TensorType, int]], start: int, alignment: int
    ) -> tuple[Tensor, ...]:
        """The tensors, in order and without gaps, inside the file."""
        expected = end = 0
        placed = []
        for name, shape, kind, offset in entries:
            if offset != expected:
                self._fail("is damaged: its tensors do not lie one after the other")
            end = offset + kind.size(shape)
            expected = -(-end // alignment) * alignment
            placed.append(Tensor(name, shape, kind, start + offset))
        if entries and start + end > self._size:
            self._fail(
                f"is cut short: {start + end - self._size:,} of its {start + end:,} bytes are missing; "
                "fetch or copy it again"
            )
        return tuple(placed)


def _what_instead(magic: bytes) -> str:
    """What a file that is not GGUF looks like by its first bytes, and what to do."""
    if magic in (b"tjgg", b"lmgg", b"fmgg", b"ggjt", b"ggml", b"ggmf"):
        return "is an old GGML file; llama.cpp reads only GGUF now, so convert the model again"
    if magic[:2] == b"PK":
        return "is a zip or PyTorch file, not GGUF; name a GGUF file"
    if magic == b"vers":
        return "is a Git LFS pointer, not the model itself; fetch it with `git lfs pull`"
    return "is not a GGUF file (it does not begin with GGUF); name a GGUF file"
