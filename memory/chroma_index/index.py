"""Keeping the chromadb index in step with the store, and never trusting it further than it was checked.

* Opened only by the process that holds ``chroma.lock``; any other searches exactly, from SQLite.
* Checked before use: its files, then, in the worker process, its count and a sample of vectors that must find
  themselves. On any doubt the folder is set aside and a new one filled from the stored vectors.
* Follows the store's log of changes; a search is answered only when it has seen all of them, else exactly.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from memory.chroma_index import files
from memory.chroma_index.host import ChromaHost, packed
from memory.errors import VectorIndexError
from memory.store import Hit, Store
from memory.store.matrix import changed_since
from memory.store.reads import chunk_kinds

_BATCH = 500
_SAMPLE = 50
_OVERFETCH = 4
_CLOSE_SECONDS = 2.0
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IndexState:
    """What a person may want to know of the index."""

    usable: bool
    reason: str
    """Why it is not used; empty when it is."""
    count: int = 0
    rebuilt: str = ""
    """Why it was set aside and made anew in this process; empty when it was not."""


class ChromaIndex:
    """The derived index of one model's vectors.

    Args:
        store: Where the truth is.
        model: Whose vectors.
        server: Address of a Chroma server; empty for the folder in the data folder.
    """

    def __init__(self, store: Store, model: str, *, server: str = "") -> None:
        self._store = store
        self._model = model
        self._server = server
        self._folder: Path = store.folder / files.FOLDER
        self._file_lock = FileLock(store.folder / "chroma.lock")
        self._host: ChromaHost | None = None
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._seen = -1
        self._state = IndexState(False, "not opened yet")

    @property
    def state(self) -> IndexState:
        """How it stands."""
        return self._state

    def open(self) -> IndexState:
        """Take the lock, check, and open; afterwards ``sync`` brings it up to date."""
        with self._guard:
            if self._host is not None:
                return self._state
            dim = self._store.dimension(self._model)
            if not dim:
                return self._set(IndexState(False, "there are no vectors yet"))
            try:
                self._file_lock.acquire(timeout=0)
            except Timeout:
                return self._set(IndexState(False, "another process holds it; search is exact here"))
            try:
                self._open_checked(dim)
            except VectorIndexError as error:
                self._drop_host()
                self._file_lock.release()
                return self._set(IndexState(False, str(error)))
            return self._state

    def sync(
        self, report: Callable[[int, int], None] | None = None, cancelled: Callable[[], bool] = lambda: False
    ) -> IndexState:
        """Apply what changed in the store since the last time, in batches; opens the index first where needed."""
        if self._host is None and not self.open().usable:
            return self._state
        with self._guard:
            try:
                self._apply(report, cancelled)
            except VectorIndexError as error:
                self._distrust(str(error))
            return self._state

    def search(self, query: Vector, limit: int, bits: int) -> list[Hit] | None:
        """Return the nearest chunks, or None where exact search must answer instead."""
        if self._host is None or self._seen != self._store.version or not self._guard.acquire(blocking=False):
            return None
        try:
            if self._state.count == 0:
                return None
            ask = min(self._state.count, limit * _OVERFETCH)
            answer = self._host.call("query", vectors=packed(query), dim=int(query.shape[0]), limit=ask, seconds=10.0)
            kinds = chunk_kinds(self._store.database.connection, answer["ids"][0])
            hits = [
                Hit(chunk_id, score)
                for chunk_id, score in zip(answer["ids"][0], answer["scores"][0], strict=True)
                if kinds.get(chunk_id, 0) & bits
            ]
            return hits[:limit] if len(hits) >= limit or ask >= self._state.count else None
        except VectorIndexError as error:
            self._distrust(str(error))
            return None
        finally:
            self._guard.release()

    def rebuild(self, report: Callable[[int, int], None] | None = None) -> IndexState:
        """Throw the index away and fill a new one from the stored vectors."""
        self.close()
        try:
            self._file_lock.acquire(timeout=0)
        except Timeout:
            return self._set(IndexState(False, "another process holds it; try again when that has finished"))
        if not self._server:
            files.set_aside(self._folder)
        self._forget()
        self._file_lock.release()
        self.open()
        return self.sync(report)

    def close(self) -> None:
        """End the worker and give the lock back; one that is busy longer than ``_CLOSE_SECONDS`` is killed."""
        self._closing.set()
        while not self._guard.acquire(timeout=_CLOSE_SECONDS):
            if (host := self._host) is not None:
                host.kill()
        try:
            self._drop_host()
            self._file_lock.release()
            self._seen = -1
            self._set(IndexState(False, "closed"))
        finally:
            self._closing.clear()
            self._guard.release()

    # Below, the guard and the file lock are held --------------------------------------------------------------

    @property
    def _key(self) -> str:
        return f"chroma:{self._server}:{self._model}"

    @property
    def _name(self) -> str:
        return "fovea-" + hashlib.sha256(self._model.encode()).hexdigest()[:24]

    def _open_checked(self, dim: int) -> None:
        reason = "" if self._server else files.doubt(self._folder)
        if not reason:
            reason = self._open_and_probe(dim)
        if not reason:
            return
        if self._closing.is_set():  # killed by ``close``: no reason to doubt it
            raise VectorIndexError("closed")
        self._drop_host()
        if not self._server:
            files.set_aside(self._folder)
        self._forget()
        second = self._open_and_probe(dim)
        if second:
            raise VectorIndexError(f"a new chromadb index cannot be opened: {second}")
        self._set(IndexState(True, "", self._state.count, rebuilt=reason))

    def _open_and_probe(self, dim: int) -> str:
        """Open in the worker and look whether known vectors find themselves; return a doubt or an empty string."""
        self._host = ChromaHost()
        place = self._server or str(self._folder)
        try:
            opened = self._host.call("open", place=place, name=self._name, model=self._model, dim=dim)
            if opened["model"] != self._model or opened["dim"] != dim:
                return "it was made for another model"
            count = int(opened["count"])
            expected = self._store.meta(self._key + ":count")
            if expected is not None and int(expected) != count:
                return f"it holds {count} vectors instead of {expected}"
            if expected is None and count:
                return "its state is unknown"
            if count and (lost := self._sample_lost(dim)):
                return f"{lost} of {_SAMPLE} vectors cannot be found in it"
        except VectorIndexError as error:
            return str(error)
        self._seen = int(self._store.meta(self._key + ":seen") or 0)
        self._set(IndexState(True, "", count))
        return ""

    def _sample_lost(self, dim: int) -> int:
        """Count sampled vectors, stored before the last sync, for which the index does not find an equal one."""
        if self._host is None:
            return 0
        seen = int(self._store.meta(self._key + ":seen") or 0)
        later = changed_since(self._store.database.connection, seen)
        if seen == 0 or later is None:
            return 0  # it was never complete: everything is written again in any case
        skipped = set(later)
        sample = [pair for pair in self._store.sample_vectors(self._model, _SAMPLE) if pair[0] not in skipped]
        if not sample:
            return 0
        answer = self._host.call("query", vectors=packed([row for _, row in sample]), dim=dim, limit=1)
        return sum(not scores or scores[0] < 0.999 for scores in answer["scores"])

    def _apply(self, report: Callable[[int, int], None] | None, cancelled: Callable[[], bool]) -> None:
        if self._host is None:
            return
        version = self._store.version
        changed = changed_since(self._store.database.connection, self._seen) if self._seen > 0 else None
        if changed is None:
            changed = self._everything()
        if changed:
            self._mark_writing(True)
        for start in range(0, len(changed), _BATCH):
            if cancelled() or self._closing.is_set():
                break
            block = changed[start : start + _BATCH]
            have = self._store.vectors_of(self._model, block)
            if have:
                rows = np.stack(list(have.values()))
                self._host.call("upsert", ids=list(have), vectors=packed(rows), dim=int(rows.shape[1]))
            gone = [chunk_id for chunk_id in block if chunk_id not in have]
            if gone:
                self._host.call("delete", ids=gone)
            if report is not None:
                report(min(start + _BATCH, len(changed)), len(changed))
        else:
            self._seen = version
        count = int(self._host.call("count")["count"])
        if changed:
            self._store.set_meta(self._key + ":count", str(count))
            self._store.set_meta(self._key + ":seen", str(max(self._seen, 0)))
            self._mark_writing(False)
        self._set(IndexState(True, "", count, self._state.rebuilt))

    def _everything(self) -> list[int]:
        """Every stored vector, and whatever the index still holds beyond them."""
        held = set() if self._host is None else set(self._host.call("all_ids")["ids"])
        return sorted(held | set(self._store.vector_ids(self._model)))

    def _mark_writing(self, on: bool) -> None:
        if self._server:
            return
        mark = self._folder / files.WRITING
        if on:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def _distrust(self, reason: str) -> None:
        """Stop using the index; the next ``open`` sets it aside, for the mark of a writer stays in it."""
        self._drop_host()
        if not self._closing.is_set():  # killed by ``close``, it is as good as the mark in it says
            if not self._server and self._folder.exists():
                self._mark_writing(True)
            self._forget()
        self._file_lock.release()
        self._set(IndexState(False, reason))

    def _forget(self) -> None:
        self._seen = -1
        for suffix in (":count", ":seen"):
            self._store.delete_meta(self._key + suffix)

    def _drop_host(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.close()

    def _set(self, state: IndexState) -> IndexState:
        self._state = state
        return state
