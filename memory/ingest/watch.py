"""Following the disk: which added folders and files changed, as they change (watchfiles)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from memory.ingest.operations import roots
from memory.ingest.pipeline import Cancelled
from memory.ingest.walk import path_of, uri_of
from memory.store import Store

_DEBOUNCE_MS = 400
_LOOK_MS = 500


def watched(store: Store, cancelled: Cancelled) -> Iterator[list[str]]:
    """Yield the added folders and files in which something changed, until cancelled or until nothing is added.

    A folder added meanwhile is followed within a second, and so is one that comes back (a disk plugged in again).
    """
    from watchfiles import watch

    known: set[Path] | None = None
    while not cancelled():
        folders = _folders(store)
        single = [path_of(one.uri) for one in store.documents(["file"]) if not one.root]
        places = {*folders, *_parents(single)}
        if known is not None and places - known:  # what changed there while it was away
            back = [uri_of(place) for place in folders if place not in known]
            back += [uri_of(path) for path in single if path.parent in places - known]
            if back:
                yield back
        known = places
        if not places:
            if not single and not roots(store):
                return
            time.sleep(_LOOK_MS / 1000)
            continue
        try:
            for changes in watch(
                *places,
                debounce=_DEBOUNCE_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                stop_event=threading.Event(),
                raise_interrupt=False,
            ):
                if cancelled():
                    return
                touched = _touched({Path(path) for _, path in changes}, folders, single)
                if touched:
                    yield touched
                if {*_folders(store), *_parents(single)} != places:
                    break
        except FileNotFoundError:  # a folder went away between the look and the watching
            continue


def _folders(store: Store) -> list[Path]:
    return [root for root in roots(store) if _there(root)]


def _there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # the disk does not answer
        return False


def _parents(single: list[Path]) -> set[Path]:
    return {path.parent for path in single if _there(path.parent)}


def _touched(changed: set[Path], folders: list[Path], single: list[Path]) -> list[str]:
    """The added folders and files that these paths belong to; hidden and temporary entries count for nothing."""
    out: dict[str, None] = {}
    for path in changed:
        for folder in folders:
            if folder in path.parents and not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1]):
                out[uri_of(folder)] = None
        if path in single:
            out[uri_of(path)] = None
    return list(out)
