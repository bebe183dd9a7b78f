"""Two versions of one note: the other one stays in place, ours is kept beside it, and the person is told."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from memory.errors import NoteConflictError
from memory.notes.note import digest_of
from memory.notes.swap import create

CONFLICT_MARK = ".conflict-"


def is_conflict(name: str) -> bool:
    """Whether a file is the kept version of a note that was edited twice at once."""
    return CONFLICT_MARK in name


def keep_beside(path: Path, text: str) -> Path:
    """Write a text beside the note it was meant for.

    Returns:
        Where it lies.

    Raises:
        OSError: it cannot be written.
    """
    content = text.encode("utf-8")
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{digest_of(content)[:6]}"
    kept = path.with_name(f"{path.stem}{CONFLICT_MARK}{stamp}{path.suffix}")
    with contextlib.suppress(FileExistsError):  # the very same text was kept a moment ago
        create(kept, content)
    return kept


def conflict(path: Path, text: str, what: str) -> NoteConflictError:
    """The error for a note that changed since it was read, with our version kept.

    Args:
        path: the note.
        text: our version.
        what: what happened to it: ``was changed`` or ``was removed``.
    """
    try:
        kept = keep_beside(path, text)
    except OSError as error:
        return NoteConflictError(f"{path} {what} by someone else, and our version could not be kept: {error}.")
    return NoteConflictError(
        f"{path} {what} by someone else since it was read. It is untouched; our version is kept as {kept.name}. "
        "Merge the two, then remove the copy."
    )
