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

    while not cancelled():
        folders = [root for root in roots(store) if root.is_dir()]
        single = [path_of(one.uri) for one in store.documents(["file"]) if not one.root]
        places = {*folders, *(path.parent for path in single if path.parent.is_dir())}
        if not places:
            if not single and not roots(store):
                return
            time.sleep(_LOOK_MS / 1000)
            continue
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
            if [root for root in roots(store) if root.is_dir()] != folders:
                break


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
