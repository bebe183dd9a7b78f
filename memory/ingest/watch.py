"""Following the disk: which added folders and files changed, as they change.

Folders are watched by the system (watchfiles). Files that were added by themselves are looked at: to watch the folder
that one lies in would be to watch all that lies below it.
"""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memory.ingest.operations import roots
from memory.ingest.pipeline import Cancelled
from memory.ingest.walk import path_of, uri_of
from memory.store import Store

_DEBOUNCE_MS = 400
_LOOK_MS = 500
_EVERYTHING_SECONDS = 15.0
"""How often everything is given where the system cannot watch; an unchanged file costs a look at its time."""


def watched(store: Store, cancelled: Cancelled, told: Callable[[str], None] = lambda _: None) -> Iterator[list[str]]:
    """Yield the added folders and files in which something may have changed, until cancelled or nothing is added.

    A folder or file added meanwhile is followed within a second, and so is one that comes back (a disk plugged in
    again). Whenever watching begins anew everything is given once, as soon as the system watches: whatever changed in
    between is among it.

    Args:
        store: Which store.
        cancelled: Asked about twice a second.
        told: Given a sentence where the system cannot watch and everything is looked at from time to time instead.
    """
    look = _Look(store)
    seen, blind = look(), False
    while seen.names and not cancelled():
        rounds = _unwatched() if blind or not seen.folders else _by_the_system(seen.folders)
        everything_at = 0.0
        try:
            for changed in rounds:
                if cancelled():
                    return
                now = look()
                if time.monotonic() >= everything_at:
                    given = list(now.names)
                    everything_at = time.monotonic() + _EVERYTHING_SECONDS if blind else float("inf")
                else:
                    given = now.touched(seen, changed)
                other_folders, seen = now.folders != seen.folders, now
                if given:
                    yield given
                if other_folders or not now.names:
                    break
        except FileNotFoundError:  # a folder went away between the look and the watching
            time.sleep(_LOOK_MS / 1000)
            seen = look()
        except (OSError, UnicodeError, RuntimeError) as error:  # no watches left, or a name that it cannot take
            blind = True
            told(f"the system cannot watch these folders ({error}); they are looked at every few seconds instead")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is followed, and how it stood at one look."""

    names: tuple[str, ...]
    """Everything that was added, there or not."""
    folders: Mapping[Path, tuple[int, int]]
    """Added folders that are there: device and inode, so that a disk put in the place of a folder is another one."""
    files: Mapping[Path, tuple[int, int] | None]
    """Files added by themselves: time and size; None for one that is not there."""

    def touched(self, before: _Seen, changed: Collection[Path]) -> list[str]:
        """The added folders and files that changed; hidden folders count for nothing."""
        out = [uri_of(path) for path, stamp in self.files.items() if before.files.get(path, ()) != stamp]
        for folder in self.folders:
            below = (path.relative_to(folder).parts[:-1] for path in changed if folder in path.parents)
            if any(not any(part.startswith(".") for part in parts) for parts in below):
                out.append(uri_of(folder))
        return out


class _Look:
    """Looks at what is followed; the manifest is read again only when the store has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revision: object = None
        self._folders: list[Path] = []
        self._files: list[Path] = []

    def __call__(self) -> _Seen:
        if self._revision != (revision := self._store.revision):
            self._revision = revision
            self._folders = roots(self._store)
            self._files = [path_of(one.uri) for one in self._store.single_files()]
        there = {folder: stamp for folder in self._folders if (stamp := _place(folder))}
        names = tuple(uri_of(path) for path in (*self._folders, *self._files))
        return _Seen(names, there, {path: _stamp(path) for path in self._files})


def _place(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:  # it is gone, or its disk does not answer
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _unwatched() -> Iterator[set[Path]]:
    while True:
        yield set()
        time.sleep(_LOOK_MS / 1000)


def _by_the_system(folders: Collection[Path]) -> Iterator[set[Path]]:
    """What changed, round by round; the first round, mostly an empty one, comes as soon as the system watches."""
    from watchfiles import watch

    rounds = watch(
        *folders,
        debounce=_DEBOUNCE_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        stop_event=threading.Event(),
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    for changes in rounds:
        yield {Path(path) for _, path in changes}
