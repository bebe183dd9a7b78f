"""The child process that opens foreign documents: ``python -m memory.formats.worker``.

One request a line on stdin (JSON), one answer on stdout: eight bytes of length, then JSON. The process is bounded by
its parent (wall time, resident memory) and bounds its own address space; whatever a document does to it, only this
process is lost. It reads files only, never the network, and writes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import sys
from bisect import bisect_right
from dataclasses import replace
from typing import Any, BinaryIO

from memory import errors
from memory.chunking import Piece, chunk_text
from memory.formats import ReadLimits, extract
from memory.formats.values import MEGABYTE, Extracted

_ADDRESS_SPACE = 3
"""Address space allowed, as a multiple of the resident memory allowed: libraries map far more than they touch."""


def read_bytes(path: bytes, limits: ReadLimits) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole, without ever waiting on a pipe or device that took its place.

    Raises:
        DocumentGoneError: Missing, unreadable, or no regular file.
        DocumentTooLargeError: Over ``file_bytes``.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise errors.DocumentGoneError("it is gone") from error
    except OSError as error:
        raise errors.DocumentGoneError(f"cannot be opened: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise errors.DocumentGoneError("not a regular file")
            if found.st_size > limits.file_bytes:
                raise errors.DocumentTooLargeError(
                    f"{found.st_size >> 20} MB; the limit is {limits.file_bytes >> 20} MB"
                )
            return file.read(limits.file_bytes + 1), found
    except OSError as error:
        raise errors.DocumentGoneError(f"cannot be read: {error.strerror or error}") from error


def cut(found: Extracted) -> list[Piece]:
    """Cut a text into chunks and give them their pages."""
    pieces = chunk_text(found.text, found.format)
    if not found.pages:
        return pieces
    return [
        replace(
            piece,
            page_start=max(1, bisect_right(found.pages, piece.start)),
            page_end=max(1, bisect_right(found.pages, piece.end - 1)),
        )
        for piece in pieces
    ]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Read one document; every failure becomes an answer."""
    limits = ReadLimits(**request.get("limits", {}))
    try:
        data, found = read_bytes(base64.b64decode(request["path"]), limits)
        digest = hashlib.sha256(data).hexdigest()
        head = {"hash": digest, "size": len(data), "mtime_ns": found.st_mtime_ns}
        if digest in request.get("known", ()):
            return {"same": True, **head}
        extracted = extract(request["name"], data, limits, request.get("declared", ""))
        pieces = cut(extracted)
    except errors.IngestError as error:
        return {"error": type(error).__name__, "reason": " ".join(str(error).split())}
    except MemoryError:
        return {"error": "DocumentTooLargeError", "reason": "needs more memory than allowed"}
    return {
        **head,
        "title": extracted.title,
        "format": extracted.format,
        "mark": "; ".join(extracted.marks),
        "pieces": [[p.text, p.start, p.end, p.heading, p.line, p.page_start, p.page_end] for p in pieces],
    }


def main() -> None:
    """Answer requests until stdin ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a library prints must not end up in the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    limited = False
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if not limited:
            _limit_address_space(int(request.get("limits", {}).get("memory_bytes", ReadLimits().memory_bytes)))
            limited = True
        _send(out, answer(request))


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    out.write(len(body).to_bytes(8, "big"))
    out.write(body)
    out.flush()


def _limit_address_space(memory_bytes: int) -> None:
    """Bound the address space and core dumps where the system knows how to."""
    try:
        import resource
    except ImportError:  # Windows: the parent's watch over resident memory is the bound
        return
    with contextlib.suppress(ValueError, OSError):
        allowed = max(_ADDRESS_SPACE * memory_bytes, 1024 * MEGABYTE)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
