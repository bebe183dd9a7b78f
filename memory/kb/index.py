"""The derived vector index of a knowledge base: whether one is wanted, opening it, rebuilding it, asking it."""

from __future__ import annotations

from collections.abc import Callable

from memory.chroma_index import ChromaIndex, IndexState
from memory.ingest.progress import Counted
from memory.store import Hit, Store
from memory.store.reader import Vector

EXACT_UP_TO = 50_000
"""With ``auto``, chromadb is asked only beyond this many vectors: below, the exact product is as fast."""
READS_ONLY = IndexState(False, "search is exact in a process that only reads")
NOT_WANTED = IndexState(False, "search is exact; no chromadb index is wanted at this size")


class DerivedIndex:
    """The chromadb index over one store, where settings and size call for one.

    Args:
        store: The truth it is derived from, and whose searches it answers once it is open.
        how: ``auto``, ``exact``, ``chroma``, or the address of a Chroma server.
        model: Gives the name under which the vectors are stored; empty where there is no model.
    """

    def __init__(self, store: Store, how: str, model: Callable[[], str]) -> None:
        self._store = store
        self._how = how
        self._model = model
        self._index: ChromaIndex | None = None

    @property
    def state(self) -> IndexState:
        """What it is fit for in this process."""
        return self._index.state if self._index else IndexState(False, "search is exact in this process")

    def open(self, cancelled: Callable[[], bool]) -> IndexState:
        """Bring it up to date and let it answer; search goes on exactly meanwhile."""
        if self._store.database.read_only:  # must not start chromadb and hold its lock: who writes keeps the index
            return READS_ONLY
        index = self._wanted()
        if index is None:
            return NOT_WANTED
        state = index.sync(cancelled=cancelled)
        if state.usable:
            self._store.vector_route = self._route
        return state

    def rebuild(self, counted: Counted | None) -> IndexState:
        """Make it anew from the stored vectors."""
        index = self._wanted()
        return NOT_WANTED if index is None else index.rebuild(counted)

    def close(self) -> None:
        """Close it; search is exact again."""
        self._store.vector_route = None
        if self._index is not None:
            self._index.close()

    def _route(self, model: str, query: Vector, limit: int, bits: int) -> list[Hit] | None:
        index = self._index
        return index.search(query, limit, bits) if index is not None and model == self._model() else None

    def _wanted(self) -> ChromaIndex | None:
        model = self._model()
        if self._how == "exact" or not model:
            return None
        if self._how == "auto" and self._store.count_vectors(model) <= EXACT_UP_TO:
            return None
        if self._index is None:
            server = self._how if self._how.startswith(("http://", "https://")) else ""
            self._index = ChromaIndex(self._store, model, server=server)
        return self._index
