"""From a question to candidates in order: two routes, fused, with small preferences by kind and age.

    question -> words (BM25)      -> around -> rank -> preferred
             -> meaning (vectors) /

What is hidden leaves before anything is judged, so that it cannot lift others over the threshold. Every step after the
routes reads about its candidates in one query, never one by one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import numpy as np

from memory.errors import MemoryRoomError
from memory.recall import rank as ranking
from memory.recall.around import Neighbour, neighbours, score_around
from memory.recall.languages import can_read
from memory.recall.question import Question
from memory.recall.rank import Ranked
from memory.recall.select import HEAD
from memory.recall.terms import weigh_terms
from memory.recall.values import QueryEmbedder, Scores, Tuning, Vector, VectorIndex
from memory.recall.worker import Worker
from memory.store import Hit, Store
from memory.store.schema import KIND_BITS

EmbedderSource = Callable[[], QueryEmbedder | None]
"""Gives the embedder once it is loaded, None before: recall does not wait for it."""
_VARIABLES = 500


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a route may still take: the part of the deadline that leaves time to rank and pack."""

    began: float
    deadline_s: float | None
    late: threading.Event

    @classmethod
    def without_end(cls) -> Clock:
        """For callers that wait."""
        return cls(time.monotonic(), None, threading.Event())

    def left(self) -> float | None:
        """Seconds; None without a deadline."""
        if self.deadline_s is None:
            return None
        return max(0.8 * self.deadline_s - (time.monotonic() - self.began), 0.0)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the meaning route brings back."""

    hits: tuple[Hit, ...]
    query: Vector
    model: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """Chunks in order, with what choosing among them needs."""

    ranked: list[Ranked]
    terms: Mapping[int, frozenset[str]]
    vectors: Mapping[int, Vector]


class Finder:
    """The search over one store, up to an order of single chunks; safe to share between threads.

    Args:
        store: what is remembered.
        embedder: gives the embedding model when it is ready; None for words alone.
        index: a faster way to the nearest vectors, where there is one.
        tuning: the numbers.
    """

    def __init__(
        self, store: Store, embedder: EmbedderSource | None, index: VectorIndex | None, tuning: Tuning
    ) -> None:
        self.store = store
        self.tuning = tuning
        self._embedder = embedder
        self._index = index
        self._counted = (-1, 0)
        # One thread a route: a route that is late keeps only itself busy. SQLite connections are one a thread.
        self._routes = Worker("recall-meaning")

    def find(
        self, asked: Question, bits: int, clock: Clock, notices: list[str], hidden: frozenset[str] = frozenset()
    ) -> Candidates:
        """Search, score and order.

        Args:
            asked: the question.
            bits: kinds that may be searched.
            clock: how long the meaning route may take.
            notices: gets a line for the person where a route did not answer.
            hidden: documents by uri; a chunk that only they hold is left out.
        """
        tuning = self.tuning
        pending = self._start_meaning(asked, bits, clock, notices)
        terms = weigh_terms(self.store, asked.terms, self._total())
        words = self.store.search_words(terms.searched(), tuning.pool, _kinds(bits))
        ids = [hit.chunk_id for hit in words]
        facts, near = self._look_up(ids, bits, hidden)  # the other route is still at its embedding
        meaning = self._finish_meaning(pending, clock, notices)
        held = set(ids)
        if meaning and (more := [hit.chunk_id for hit in meaning.hits if hit.chunk_id not in held]):
            more_facts, more_near = self._look_up(more, bits, hidden)
            ids, facts, near = ids + more, facts | more_facts, near + more_near
        candidates = [chunk_id for chunk_id in ids if chunk_id in facts]
        connection = self.store.database.connection
        around = score_around(connection, candidates, terms, tuning, bits, self.store.word_table, near)
        vectors = self.store.vectors_of(meaning.model, candidates) if meaning else {}
        cosines = _cosines(vectors, meaning.query) if meaning else {}
        ranked = self._preferred(ranking.rank(around, words, cosines, tuning), facts)
        return Candidates(ranked, _Terms(self.store, [one.chunk_id for one in ranked[:HEAD]]), vectors)

    def close(self) -> None:
        """End the thread; a route that hangs is not waited for."""
        self._routes.close()

    # Inside ----------------------------------------------------------------------------------------------------

    def _total(self) -> int:
        """How many chunks the store holds, counted again only when something changed."""
        version = self.store.version
        if self._counted[0] != version:
            count = self.store.database.connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
            self._counted = (version, int(count))
        return self._counted[1]

    def _start_meaning(self, asked: Question, bits: int, clock: Clock, notices: list[str]) -> Future[Meaning] | None:
        if self._embedder is None:
            return None
        embedder = self._embedder()
        if embedder is None:
            notices.append("The embedding model is not ready; this search went by words.")
            return None
        if not can_read(embedder.name, asked.text):
            notices.append(f"The embedding model {embedder.name} reads English; this question went by words.")
            return None
        if clock.deadline_s is not None:
            return self._routes.submit(lambda: self._search_meaning(embedder, asked.text, bits))
        here: Future[Meaning] = Future()  # nobody is waiting for a deadline: no second thread is needed
        try:
            here.set_result(self._search_meaning(embedder, asked.text, bits))
        except Exception as error:  # told by whoever reads the result
            here.set_exception(error)
        return here

    def _search_meaning(self, embedder: QueryEmbedder, text: str, bits: int) -> Meaning:
        vector = embedder.encode_query(text)
        hits = self._index.search(vector, self.tuning.pool, bits) if self._index else None
        if hits is None:
            hits = self.store.search_vectors(vector, self.tuning.pool, _kinds(bits), model=embedder.name)
        return Meaning(tuple(hits), vector, embedder.name)

    def _finish_meaning(self, pending: Future[Meaning] | None, clock: Clock, notices: list[str]) -> Meaning | None:
        if pending is None:
            return None
        try:
            return pending.result(clock.left())
        except FutureTimeoutError:
            notices.append("The search by meaning was late; this one went by words.")
        except MemoryRoomError as error:
            notices.append(f"This search went by words: {error}")
        except Exception as error:  # a model can fail in many ways; words still answer
            notices.append(f"This search went by words; the embedding model failed: {error}")
        return None

    def _look_up(
        self, chunk_ids: Sequence[int], bits: int, hidden: frozenset[str]
    ) -> tuple[dict[int, _Facts], list[Neighbour]]:
        """What ranking needs to know of candidates beside their words: their documents and their neighbours."""
        facts = self._facts(chunk_ids, hidden)
        return facts, neighbours(self.store.database.connection, list(facts), len(self.tuning.near), bits)

    def _facts(self, chunk_ids: Sequence[int], hidden: frozenset[str]) -> dict[int, _Facts]:
        """What is known of the open documents that hold each chunk; chunks that only hidden ones hold are missing."""
        facts: dict[int, _Facts] = {}
        shown: set[int] = set()
        for start in range(0, len(chunk_ids), _VARIABLES):
            block = chunk_ids[start : start + _VARIABLES]
            marks = ",".join("?" * len(block))
            query = (
                "SELECT p.chunk_id, d.uri, d.kind, CASE WHEN d.mtime_ns > 0 THEN d.mtime_ns / 1e9 ELSE d.updated_at END"  # noqa: S608
                " FROM placements p CROSS JOIN documents d ON d.id = p.document_id"
                f" WHERE p.chunk_id IN ({marks}) AND d.private = 0"
            )
            for chunk_id, uri, kind, time_ in self.store.database.connection.execute(query, block):
                one = facts.setdefault(chunk_id, _Facts())
                one.factor = max(one.factor, self.tuning.preferences.get(kind, 1.0))
                one.time = max(one.time, time_)
                if uri not in hidden:
                    shown.add(chunk_id)
        return {chunk_id: one for chunk_id, one in facts.items() if chunk_id in shown}

    def _preferred(self, ranked: list[Ranked], facts: Mapping[int, _Facts]) -> list[Ranked]:
        """Small preferences by kind and age; what they are worth stands in ``Tuning``."""
        head = ranked[: self.tuning.pool]
        times = sorted({facts[one.chunk_id].time for one in head})
        age = {time: place / max(len(times) - 1, 1) for place, time in enumerate(times)}
        preferred = []
        for one in head:
            fact, scores = facts[one.chunk_id], one.scores
            fused = scores.fused * fact.factor + self.tuning.recency * age[fact.time]
            again = Scores(scores.words, scores.meaning, scores.around, fused, scores.relevance)
            preferred.append(Ranked(one.chunk_id, again))
        return sorted(preferred, key=lambda one: (-one.scores.fused, one.chunk_id)) + ranked[self.tuning.pool :]


@dataclass(slots=True)
class _Facts:
    """Of the documents that hold a chunk: the greatest preference, and when the newest of them changed."""

    factor: float = 0.0
    time: float = 0.0


@dataclass(slots=True)
class _Terms(Mapping[int, frozenset[str]]):
    """The words of some chunks, read in one query when the first is asked for: often nobody asks."""

    store: Store
    ids: list[int]
    read: dict[int, frozenset[str]] | None = field(default=None)

    def _all(self) -> dict[int, frozenset[str]]:
        if self.read is None:
            marks = ",".join("?" * len(self.ids))
            query = f"SELECT rowid, body FROM words WHERE rowid IN ({marks})"  # noqa: S608 (question marks)
            rows = self.store.database.connection.execute(query, self.ids)
            self.read = {int(row[0]): frozenset(str(row[1]).split()) for row in rows}
        return self.read

    def __getitem__(self, chunk_id: int) -> frozenset[str]:
        return self._all()[chunk_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _cosines(vectors: Mapping[int, Vector], query: Vector) -> dict[int, float]:
    if not vectors:
        return {}
    values = np.stack(list(vectors.values())) @ query
    return dict(zip(vectors, values.tolist(), strict=True))


def _kinds(bits: int) -> list[str]:
    return [kind for kind, bit in KIND_BITS.items() if bits & bit]
