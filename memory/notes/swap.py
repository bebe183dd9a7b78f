"""Replacing a file without losing what somebody wrote into it a moment ago.

A plain ``os.replace`` destroys whatever stands at the target, including an edit saved between our check and our write.
Here the new text and the old file trade places in one step where the system can (``renameat2`` with
``RENAME_EXCHANGE`` on Linux), and what came out is compared *after* it is out: nothing that was not read is ever
destroyed. Elsewhere a hard link holds the old file during the replacement; an editor that renames its own file into
place within those microseconds is the one case left.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from memory.notes.note import digest_of

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class ChangedMeanwhileError(Exception):
    """The target was not what the caller had read; it is untouched. Internal: folders turn it into a conflict."""


def replace_if(target: Path, content: bytes, expected: str) -> None:
    """Put ``content`` in the place of ``target`` if the file there still is the one that was read.

    Args:
        target: an existing regular file.
        content: the new bytes.
        expected: digest of the bytes that were read.

    Raises:
        ChangedMeanwhileError: the file held something else; whatever it held is still there.
        OSError: the disk is full, the folder may not be written, and the like; the file is untouched.
    """
    mode = target.stat().st_mode & 0o777
    fresh = _temporary(target, content, mode)
    try:
        if digest_of(target.read_bytes()) != expected:
            raise ChangedMeanwhileError
        if _exchange(fresh, target):
            _settle(fresh, target, content, expected)
        else:
            _replace_with_link(fresh, target, expected)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(target.parent)


def create(target: Path, content: bytes) -> None:
    """Write a new file; an existing one is never overwritten.

    Raises:
        FileExistsError: the name is taken.
        OSError: the file cannot be written.
    """
    fresh = _temporary(target, content, 0o600)
    try:
        os.link(fresh, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        with target.open("xb") as file:  # a file system without hard links
            file.write(content)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system lets folders be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(fresh: Path, target: Path, content: bytes, expected: str) -> None:
    """After the exchange ``fresh`` holds the old file. Give it back if it was not the one that was read."""
    if digest_of(fresh.read_bytes()) == expected:
        return
    _exchange(fresh, target)
    left = fresh.read_bytes()
    if left != content:  # a second edit reached our text in between: keep it beside the note
        fresh.rename(target.with_name(f"{target.stem}.conflict-{os.getpid()}-{digest_of(left)[:8]}{target.suffix}"))
    raise ChangedMeanwhileError


def _replace_with_link(fresh: Path, target: Path, expected: str) -> None:
    held = fresh.with_suffix(".held")
    os.link(target, held)
    try:
        fresh.replace(target)
        if digest_of(held.read_bytes()) != expected:  # written into while we replaced it
            held.replace(target)
            raise ChangedMeanwhileError
    finally:
        held.unlink(missing_ok=True)


def _temporary(target: Path, content: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _exchange(one: Path, other: Path) -> bool:
    """Trade two files' places in one step; False where the system or the file system cannot."""
    call = _renameat2()
    if call is None:
        return False
    done: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}:
        return False
    raise OSError(code, os.strerror(code), str(other))


@lru_cache(maxsize=1)
def _renameat2() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # missing in older C libraries
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        call.restype = ctypes.c_int
    return call
