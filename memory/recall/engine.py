"""Recall in one call: words and meaning, fused, judged, packed; never later than it was told to be.

    question -> words (FTS5)      -> around -> rank -> relevant? -> diverse -> passages
             -> meaning (vectors) /

The two routes run in threads of their own. At the deadline what is there is used: without the meaning route the answer
goes by words and says so; without the word route there is no answer, and that is said. Nothing here raises for a store
or a model in trouble: a turn must go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace

from memory.errors import MemoryRoomError
from memory.notes.budget import estimate_tokens
from memory.recall import rank as ranking
from memory.recall.around import score_around
from memory.recall.languages import can_read
from memory.recall.passages import build
from memory.recall.question import Question, is_small_talk, question
from memory.recall.rank import Ranked
from memory.recall.select import HEAD, diverse, relevant
from memory.recall.terms import weigh_terms
from memory.recall.values import (
    DEFAULT_TUNING,
    KINDS,
    QueryEmbedder,
    Recall,
    Reranker,
    Scores,
    Tuning,
    Vector,
    VectorIndex,
)
from memory.recall.worker import Worker
from memory.store import Hit, Store
from memory.store.store import kind_bits

ALWAYS_SHOWN = frozenset({"MEMORY.md"})
"""Notes that stand in every prompt anyway and are not recalled a second time."""
RERANKED = 20

EmbedderSource = Callable[[], QueryEmbedder | None]
"""Gives the embedder once it is loaded, None before: recall does not wait for it."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the meaning route brings back."""

    hits: tuple[Hit, ...]
    query: Vector
    model: str


@dataclass(frozen=True, slots=True)
class _Found:
    """Candidates in order, with what choosing among them needs."""

    ranked: list[Ranked]
    terms: dict[int, frozenset[str]]
    vectors: dict[int, Vector]


class Recaller:
    """Recall over one store; safe to share between threads.

    Args:
        store: what is remembered.
        embedder: gives the embedding model when it is ready; None for words alone.
        index: a faster way to the nearest vectors, where there is one.
        reranker: a cross-encoder, where one is given.
        tuning: the numbers.
    """

    def __init__(
        self,
        store: Store,
        embedder: EmbedderSource | None = None,
        *,
        index: VectorIndex | None = None,
        reranker: Reranker | None = None,
        tuning: Tuning = DEFAULT_TUNING,
    ) -> None:
        self.store = store
        self.tuning = tuning
        self._embedder = embedder
        self._index = index
        self._reranker = reranker
        self._counted = (-1, 0)
        # One thread a route: a route that is late keeps only itself busy. SQLite connections are one a thread.
        self._routes = Worker("recall-meaning")
        self._whole = Worker("recall")

    def recall(
        self,
        query: str,
        budget_tokens: int,
        *,
        previous: Sequence[str] = (),
        kinds: Iterable[str] = KINDS,
        hidden: frozenset[str] = ALWAYS_SHOWN,
        count: Callable[[str], int] = estimate_tokens,
        deadline_s: float | None = None,
    ) -> Recall:
        """Find what bears on a message.

        Args:
            query: the person's message.
            budget_tokens: most tokens of all passages together.
            previous: the person's earlier messages, oldest first, for follow-up questions.
            kinds: sources that may be used; a person can switch each off.
            hidden: documents (by uri) that are left out, e.g. because they stand in the prompt already.
            count: counts tokens.
            deadline_s: seconds after which it returns whatever there is; None waits.

        Returns:
            Numbered passages, best first, none where nothing is relevant enough; and what the person should know.
        """
        began = time.monotonic()
        asked = question(query, previous)
        allowed = frozenset(kinds) & frozenset(KINDS)
        if not asked.terms or is_small_talk(query) or not allowed or budget_tokens <= 0:
            return Recall(query=asked.text)
        late = threading.Event()

        def work() -> Recall:
            return self._recall(asked, budget_tokens, allowed, hidden, count, _Clock(began, deadline_s, late))

        try:
            if deadline_s is None:
                result = work()
            else:
                result = self._whole.submit(work).result(max(deadline_s - (time.monotonic() - began), 0.001))
        except FutureTimeoutError:
            late.set()
            result = Recall(notices=(f"Nothing was recalled: the search took longer than {deadline_s:g} s.",))
        except MemoryRoomError as error:
            result = Recall(notices=(f"Nothing was recalled: {error}",))
        return replace(result, query=asked.text, seconds=time.monotonic() - began)

    def order(
        self, query: str, limit: int, *, previous: Sequence[str] = (), kinds: Iterable[str] = KINDS
    ) -> list[Ranked]:
        """The order of single chunks before anything is judged, joined or packed; what the measurements look at."""
        asked = question(query, previous)
        bits = kind_bits(kinds)
        notices: list[str] = []
        found = self._find(asked, bits, _Clock(time.monotonic(), None, threading.Event()), notices)
        return list(_first(diverse(found.ranked, found.terms, found.vectors, self.tuning), limit))

    def close(self) -> None:
        """End the threads; a route that hangs is not waited for."""
        self._routes.close()
        self._whole.close()

    # Inside ----------------------------------------------------------------------------------------------------

    def _recall(
        self,
        asked: Question,
        budget: int,
        kinds: frozenset[str],
        hidden: frozenset[str],
        count: Callable[[str], int],
        clock: _Clock,
    ) -> Recall:
        notices: list[str] = []
        found = self._find(asked, kind_bits(kinds), clock, notices)
        worth = relevant(found.ranked, self.tuning)
        if self._reranker is not None and worth:
            worth = self._reranked(asked.text, worth, notices)
        if hidden and worth:
            worth = self._without(worth, hidden)
        if clock.late.is_set():
            return Recall()
        taken = diverse(worth, found.terms, found.vectors, self.tuning)
        passages = build(taken, self.store, kinds, budget, self.tuning.passages, count)
        return Recall(tuple(passages), tuple(notices), considered=len(found.ranked))

    def _find(self, asked: Question, bits: int, clock: _Clock, notices: list[str]) -> _Found:
        tuning, connection = self.tuning, self.store.database.connection
        pending = self._start_meaning(asked, bits, clock, notices)
        terms = weigh_terms(self.store, asked.terms, self._total())
        words = self.store.search_words(terms.searched(), tuning.pool, _kinds(bits))
        meaning = self._finish_meaning(pending, clock, notices)
        candidates = list(dict.fromkeys([hit.chunk_id for hit in (*words, *(meaning.hits if meaning else ()))]))
        around = score_around(connection, candidates, terms, tuning, bits, self.store.word_frequencies)
        vectors = ranking.read_vectors(connection, meaning.model, candidates) if meaning else {}
        cosines = {chunk_id: float(vector @ meaning.query) for chunk_id, vector in vectors.items()} if meaning else {}
        ranked = self._preferred(ranking.rank(around, words, cosines, tuning))
        return _Found(ranked, self._terms([one.chunk_id for one in ranked[:HEAD]]), vectors)

    def _total(self) -> int:
        """How many chunks the store holds, counted again only when something changed."""
        version = self.store.version
        if self._counted[0] != version:
            count = self.store.database.connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
            self._counted = (version, int(count))
        return self._counted[1]

    def _start_meaning(self, asked: Question, bits: int, clock: _Clock, notices: list[str]) -> Future[Meaning] | None:
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

    def _finish_meaning(self, pending: Future[Meaning] | None, clock: _Clock, notices: list[str]) -> Meaning | None:
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

    def _preferred(self, ranked: list[Ranked]) -> list[Ranked]:
        """Small preferences by kind and age; what they are worth stands in ``Tuning``."""
        head = ranked[: self.tuning.pool]
        facts = self._facts([one.chunk_id for one in head])
        times = sorted({time for _, time in facts.values()})
        age = {time: place / max(len(times) - 1, 1) for place, time in enumerate(times)}
        preferred = []
        for one in head:
            kinds, updated = facts.get(one.chunk_id, (frozenset[str](), 0.0))
            factor = max((self.tuning.preferences.get(kind, 1.0) for kind in kinds), default=1.0)
            fused = one.scores.fused * factor + self.tuning.recency * age.get(updated, 0.0)
            preferred.append(Ranked(one.chunk_id, replace(one.scores, fused=fused)))
        return sorted(preferred, key=lambda one: (-one.scores.fused, one.chunk_id)) + ranked[self.tuning.pool :]

    def _facts(self, chunk_ids: Sequence[int]) -> dict[int, tuple[frozenset[str], float]]:
        """Kinds of the documents that hold each chunk, and when the newest of them changed."""
        marks = ",".join("?" * len(chunk_ids))
        query = (
            "SELECT p.chunk_id, group_concat(DISTINCT d.kind), max(CASE WHEN d.mtime_ns > 0 THEN d.mtime_ns / 1e9"  # noqa: S608
            " ELSE d.updated_at END) FROM placements p JOIN documents d ON d.id = p.document_id"
            f" WHERE p.chunk_id IN ({marks}) AND d.private = 0 GROUP BY p.chunk_id"
        )
        rows = self.store.database.connection.execute(query, list(chunk_ids))
        return {int(row[0]): (frozenset(str(row[1]).split(",")), float(row[2])) for row in rows}

    def _terms(self, chunk_ids: Sequence[int]) -> dict[int, frozenset[str]]:
        marks = ",".join("?" * len(chunk_ids))
        query = f"SELECT rowid, body FROM words WHERE rowid IN ({marks})"  # noqa: S608 (question marks)
        rows = self.store.database.connection.execute(query, list(chunk_ids))
        return {int(row[0]): frozenset(str(row[1]).split()) for row in rows}

    def _reranked(self, query: str, ranked: list[Ranked], notices: list[str]) -> list[Ranked]:
        """Let the cross-encoder order the head of the list; the rest stays behind it."""
        head, rest = ranked[:RERANKED], ranked[RERANKED:]
        texts = {chunk.id: chunk.text for chunk in self.store.chunks([one.chunk_id for one in head])}
        head = [one for one in head if one.chunk_id in texts]
        try:
            values = list(self._reranker.score(query, [texts[one.chunk_id] for one in head])) if self._reranker else []
        except Exception as error:  # somebody else's model
            notices.append(f"The reranker failed ({error}); the order is that of words and meaning.")
            return ranked
        order = sorted(zip(values, head, strict=True), key=lambda pair: -pair[0])
        best = head[0].scores.fused if head else 0.0
        # Scores below follow the new order, so that diversity weighs it and not the old one.
        placed = [_with_fused(one, best * (1 - 0.02 * place)) for place, (_, one) in enumerate(order)]
        lowest = placed[-1].scores.fused if placed else 0.0
        return placed + [_with_fused(one, min(one.scores.fused, lowest)) for one in rest]

    def _without(self, ranked: list[Ranked], hidden: frozenset[str]) -> list[Ranked]:
        """Leave out chunks that only hidden documents hold."""
        kept = {
            chunk.id
            for chunk in self.store.chunks([one.chunk_id for one in ranked])
            if any(source.document.uri not in hidden for source in chunk.sources)
        }
        return [one for one in ranked if one.chunk_id in kept]


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long a route may still take: the part of the deadline that leaves time to rank and pack."""

    began: float
    deadline_s: float | None
    late: threading.Event

    def left(self) -> float | None:
        if self.deadline_s is None:
            return None
        return max(0.8 * self.deadline_s - (time.monotonic() - self.began), 0.0)


def recall(
    query: str,
    budget_tokens: int,
    *,
    store: Store,
    embedder: QueryEmbedder | None = None,
    previous: Sequence[str] = (),
    kinds: Iterable[str] = KINDS,
    deadline_s: float | None = None,
) -> Recall:
    """Recall once, without keeping anything open; a program that recalls often keeps a ``Recaller``."""
    recaller = Recaller(store, (lambda: embedder) if embedder is not None else None)
    try:
        return recaller.recall(query, budget_tokens, previous=previous, kinds=kinds, deadline_s=deadline_s)
    finally:
        recaller.close()


def _kinds(bits: int) -> list[str]:
    from memory.store.schema import KIND_BITS

    return [kind for kind, bit in KIND_BITS.items() if bits & bit]


def _with_fused(one: Ranked, fused: float) -> Ranked:
    scores: Scores = replace(one.scores, fused=fused)
    return Ranked(one.chunk_id, scores)


def _first(ranked: Iterable[Ranked], limit: int) -> Iterable[Ranked]:
    for number, one in enumerate(ranked):
        if number >= limit:
            return
        yield one
