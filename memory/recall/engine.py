"""Recall in one call: words and meaning, fused, judged, packed; never later than it was told to be.

    question -> candidates in order (``find``) -> relevant? -> diverse -> passages

The meaning route runs in a thread of its own. At the deadline what is there is used: without it the answer goes by
words and says so; without the word route there is no answer, and that is said. Nothing here raises for a store or a
model in trouble: a turn must go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from itertools import islice

from memory.errors import MemoryRoomError
from memory.notes.budget import estimate_tokens
from memory.recall.find import Clock, EmbedderSource, Finder
from memory.recall.passages import build
from memory.recall.question import Question, is_small_talk, question
from memory.recall.rank import Ranked
from memory.recall.select import diverse, relevant
from memory.recall.values import (
    DEFAULT_TUNING,
    KINDS,
    QueryEmbedder,
    Recall,
    Reranker,
    Scores,
    Tuning,
    VectorIndex,
)
from memory.recall.worker import Worker
from memory.store import Store
from memory.store.database import translated
from memory.store.schema import kind_bits

ALWAYS_SHOWN = frozenset({"MEMORY.md"})
"""Notes that stand in every prompt anyway and are not recalled a second time."""
RERANKED = 20


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
        self._finder = Finder(store, embedder, index, tuning)
        self._reranker = reranker
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
            with translated(self.store.database.path):
                return self._recall(asked, budget_tokens, allowed, hidden, count, Clock(began, deadline_s, late))

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
        return self.search(query, limit, previous=previous, kinds=kinds)[0]

    def search(
        self, query: str, limit: int, *, previous: Sequence[str] = (), kinds: Iterable[str] = KINDS
    ) -> tuple[list[Ranked], list[str]]:
        """The same order for a person who searches, relevant or not, and lines about the search."""
        notices: list[str] = []
        with translated(self.store.database.path):
            found = self._finder.find(question(query, previous), kind_bits(kinds), Clock.without_end(), notices)
            return list(islice(diverse(found.ranked, found.terms, found.vectors, self.tuning), limit)), notices

    def close(self) -> None:
        """End the threads; a route that hangs is not waited for."""
        self._finder.close()
        self._whole.close()

    # Inside ----------------------------------------------------------------------------------------------------

    def _recall(
        self,
        asked: Question,
        budget: int,
        kinds: frozenset[str],
        hidden: frozenset[str],
        count: Callable[[str], int],
        clock: Clock,
    ) -> Recall:
        notices: list[str] = []
        found = self._finder.find(asked, kind_bits(kinds), clock, notices, hidden)
        worth = relevant(found.ranked, self.tuning)
        if self._reranker is not None and worth:
            worth = self._reranked(asked.text, worth, notices)
        if clock.late.is_set():
            return Recall()
        taken = diverse(worth, found.terms, found.vectors, self.tuning)
        passages = build(taken, self.store, kinds, budget, self.tuning.passages, count, hidden=hidden)
        return Recall(tuple(passages), tuple(notices), considered=len(found.ranked))

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


def _with_fused(one: Ranked, fused: float) -> Ranked:
    scores: Scores = replace(one.scores, fused=fused)
    return Ranked(one.chunk_id, scores)
