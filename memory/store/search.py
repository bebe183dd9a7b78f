"""Searching a store by words and by vectors, with what large ones hold in memory to answer fast.

Each route has a plain way that always answers (FTS5, the exact product) and a faster one that is asked first and may
decline: the word matrix once it is built, the derived vector index once it is fit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from memory.store import reads, stream
from memory.store.database import translated
from memory.store.matrix import VectorMatrix
from memory.store.reader import StoreReader, Vector
from memory.store.schema import kind_bits
from memory.store.values import Hit, WordTable
from memory.store.wordmatrix import WORTH_FROM, WordMatrix

VectorRoute = Callable[[str, Vector, int, int], list[Hit] | None]
"""Model, query, limit and kind bits to hits; None where it cannot answer now."""


class SearchableStore(StoreReader):
    """A store that can be searched; takes the arguments of ``StoreReader``."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        super().__init__(folder, read_only=read_only)
        self.vector_route: VectorRoute | None = None
        """Another way to search vectors, asked first; where it gives None the exact search answers."""
        self._matrices: dict[str, VectorMatrix] = {}
        self._asked: set[str] = set()
        self._words = WordMatrix(self.database)
        self._guard = threading.Lock()

    def search_words(
        self, terms: Sequence[str], limit: int, kinds: Iterable[str] | None = None, *, private: bool = False
    ) -> list[Hit]:
        """Search the word index with terms made by ``memory.recall.text.query_terms``; best first, BM25 scores."""
        bits = kind_bits(kinds, private)
        with translated(self.database.path):
            quick = self._words.search(terms, limit, bits)
            return reads.search_words(self.database.connection, terms, limit, bits) if quick is None else quick

    def word_counts(self, terms: Sequence[str]) -> tuple[int, dict[str, int]] | None:
        """Return how many chunks there are and how many hold each term, where that is known without a search."""
        with translated(self.database.path):
            return self._words.counts(terms)

    def word_table(self, terms: Sequence[str], ids: Sequence[int]) -> WordTable | None:
        """Return the length of each chunk and how often it holds each term, where that is known without reading."""
        with translated(self.database.path):
            return self._words.table(terms, ids)

    def search_vectors(
        self, query: Vector, limit: int, kinds: Iterable[str] | None = None, *, model: str, private: bool = False
    ) -> list[Hit]:
        """Search by cosine over the vectors of ``model``, through the derived index where it is fit, else exactly."""
        bits = kind_bits(kinds, private)
        with translated(self.database.path):
            routed = self.vector_route(model, query, limit, bits) if self.vector_route is not None else None
            return self._search_exactly(model, query, limit, bits) if routed is None else routed

    def _search_exactly(self, model: str, query: Vector, limit: int, bits: int) -> list[Hit]:
        """The first question to many vectors streams them, for it may be the only one; the next one has them held."""
        matrix, first = self.matrix(model), model not in self._asked
        self._asked.add(model)
        if first and not matrix.loaded and self.count_vectors(model) >= stream.WORTH_FROM:
            return stream.search_streamed(self.database.connection, model, query, limit, bits)
        return matrix.search(query, limit, bits)

    def matrix(self, model: str) -> VectorMatrix:
        """Return the cached matrix of a model's vectors."""
        with self._guard:
            return self._matrices.setdefault(model, VectorMatrix(self.database, model))

    def vectors_of(self, model: str, ids: Sequence[int]) -> dict[int, Vector]:
        """Return the stored vectors of these chunks, from memory if there; chunks without one are missing."""
        held = self._matrices.get(model)
        if held is None or not held.loaded:
            return super().vectors_of(model, ids)
        with translated(self.database.path):
            return held.vectors(ids)

    def warm(self, model: str = "", *, worth_from: int = WORTH_FROM) -> None:
        """Read into memory what makes searches in a large store fast; seconds of work, for a background thread.

        Args:
            model: Whose vectors to read as well; none when empty.
            worth_from: Chunks from which on the word index is held in memory.
        """
        with translated(self.database.path):
            total = int(self.database.connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
            if total >= worth_from and self._words.stale:
                self._words.build()
            if model:
                len(self.matrix(model))
