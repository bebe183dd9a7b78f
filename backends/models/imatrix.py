"""Importance matrices: made from a calibration text in a child process, kept in the cache.

An importance matrix tells the quantizer which inputs of a matrix are large on real text, so that it rounds the weights
they meet more carefully. It helps most below 4 bits; the smallest formats cannot be made without one.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from backends.errors import TierError
from backends.models.child import run_child
from backends.models.gguf_file import read_model
from backends.models.gguf_header import shown
from backends.models.identity import content_key, folder_name
from backends.models.quantizer import Progress

_CHILD = Path(__file__).with_name("imatrix_child.py")
_LINE = re.compile(r"\[(\d+)/(\d+)\]")
CHUNKS = 64
"""Chunks of 512 tokens read at most: 32,768 tokens."""


def ensure_imatrix(
    model: Path, text: Path, cache: Path, progress: Progress | None = None, *, chunks: int = CHUNKS
) -> Path:
    """The importance matrix of ``model`` on ``text``, made now if it is not in the cache.

    Args:
        model: a GGUF file, best the 16-bit one.
        text: calibration text, at least 512 tokens; like what the model will be used for.
        cache: the cache folder.
        progress: called with the share done, 0..1.
        chunks: chunks of 512 tokens read at most.

    Raises:
        ModelFileError: the model cannot be used.
        TierError: the text is too short or unreadable, or the matrix cannot be made or stored.
    """
    found = read_model(model)
    try:
        with text.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise TierError(f"{shown(text)} cannot be read: {error.strerror or error}") from error
    folder = cache / "imatrix" / folder_name(found, content_key(found))
    out = folder / f"{digest}-{chunks}.npz"
    if out.is_file():
        return out
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _run(found.path, text, partial, chunks, progress)
        partial.replace(out)
    except OSError as error:
        raise TierError(f"{shown(out)} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return out


def _run(model: Path, text: Path, out: Path, chunks: int, progress: Progress | None) -> None:
    job = {"model": str(model), "text": str(text), "out": str(out), "chunks": chunks, "threads": os.cpu_count() or 1}
    last = ""

    def watch(line: str) -> None:
        nonlocal last
        last = line
        match = _LINE.fullmatch(line)
        if match and progress:
            progress(int(match[1]) / int(match[2]))

    code = run_child(_CHILD, job, watch)
    if code != 0:
        reason = last.removeprefix("failed: ") if last.startswith("failed: ") else f"it ended with code {code}"
        raise TierError(f"no importance matrix from {shown(text)}: {ascii(reason)[1:-1][:200]}")
