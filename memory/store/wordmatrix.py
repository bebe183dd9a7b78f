"""BM25 over the whole word index in memory, for stores where FTS5 would take too long over common words.

FTS5 ranks by visiting every chunk that holds any term: at 100,000 chunks a question with two common words costs it a
tenth of a second. Here the postings lie in three arrays, a term costs one vectorised addition, and the whole ranking
takes a few milliseconds. The scores are FTS5's own (k1 1.2, b 0.75, its inverse document frequency), so that both
routes give the same order.

It is derived from the content of the FTS5 table, made in the background (seconds for 100,000 chunks, about 0.6 KB a
chunk), and follows ``changes``: new chunks are scored one by one until there are so many that it is made anew.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memory.store.database import Database
from memory.store.matrix import changed_since, data_version, top_rows
from memory.store.reads import chunk_kinds
from memory.store.values import Hit, WordTable
from memory.store.writes import VARIABLES

WORTH_FROM = 20_000
"""Chunks from which on this is worth its memory; below, FTS5 answers as fast."""
_K1, _B = 1.2, 0.75
_NEWCOMERS = 3000
_BLOCK = 4096


@dataclass(slots=True)
class _Newcomer:
    """A chunk that came after the arrays were made."""

    kinds: int
    length: int
    counts: Counter[str]


@dataclass(slots=True)
class _State:
    """Postings of term ``t`` are ``rows[starts[t]:starts[t + 1]]`` with their frequencies in ``counts``."""

    seq: int
    terms: dict[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]
    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    lengths: NDArray[np.float32]
    gone: NDArray[np.bool_]
    newcomers: dict[int, _Newcomer] = field(default_factory=dict)


class WordMatrix:
    """BM25 in memory over one store; thread-safe. ``search`` gives None until ``build`` has run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._state: _State | None = None

    def build(self) -> None:
        """Make the arrays from the word index as it is now; searches go on meanwhile with what there was."""
        with self._building:
            connection = self._database.connection
            connection.execute("BEGIN")
            try:
                state = _read(connection)
            finally:
                connection.execute("COMMIT")
            with self._lock:
                self._state = state

    @property
    def stale(self) -> bool:
        """Whether it was never made, or so much has changed that it should be made anew."""
        with self._lock:
            return self._current() is None

    def search(self, terms: Sequence[str], limit: int, bits: int) -> list[Hit] | None:
        """Rank chunks by BM25 over any of the terms, best first; None where FTS5 must answer."""
        with self._lock:
            state = self._current()
            return None if state is None else _search(state, terms, limit, bits)

    def counts(self, terms: Sequence[str]) -> tuple[int, dict[str, int]] | None:
        """Return how many chunks there are, and how many hold each term (those that any holds); None as above."""
        with self._lock:
            state = self._current()
            if state is None:
                return None
            found = {term: _holders(state, term) for term in terms}
            return _total(state), {term: count for term, count in found.items() if count}

    def table(self, terms: Sequence[str], ids: Sequence[int]) -> WordTable | None:
        """Return for each chunk its length in terms and how often it holds each of these; None as above."""
        with self._lock:
            state = self._current()
            return None if state is None else _table(state, terms, ids)

    def _current(self) -> _State | None:
        state = self._state
        connection = self._database.connection
        if state is None or data_version(connection) == state.seq:
            return state
        seq = data_version(connection)
        changed = changed_since(connection, state.seq)
        if changed is None or not _follow(connection, state, changed):
            self._state = None
            return None
        state.seq = seq
        return state


def _read(connection: sqlite3.Connection) -> _State:
    """Read every chunk's terms and sort them into postings."""
    seq = data_version(connection)
    vocabulary: dict[str, int] = {}
    ids: list[int] = []
    kinds: list[int] = []
    lengths: list[int] = []
    keys: list[NDArray[np.int64]] = []
    cursor = connection.execute(
        "SELECT w.rowid, c.kinds, w.body, w.context FROM words w JOIN chunks c ON c.id = w.rowid ORDER BY w.rowid"
    )
    while block := cursor.fetchmany(_BLOCK):
        numbers: list[int] = []
        sizes: list[int] = []
        for chunk_id, bits, body, context in block:
            words = f"{body} {context}".split()
            numbers += [vocabulary.setdefault(word, len(vocabulary)) for word in words]
            sizes.append(len(words))
            ids.append(chunk_id)
            kinds.append(bits)
        first = len(lengths)
        lengths += sizes
        rows = np.repeat(np.arange(first, len(lengths), dtype=np.int64), sizes)
        unique, counts = np.unique((np.asarray(numbers, np.int64) << 32) | rows, return_counts=True)
        keys.append(unique << 8 | np.minimum(counts, 255))  # term, row and frequency in one sortable number
    packed = np.sort(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    starts = np.searchsorted(packed, np.arange(len(vocabulary) + 1, dtype=np.int64) << 40)
    return _State(
        seq,
        vocabulary,
        starts,
        ((packed >> 8) & 0xFFFFFFFF).astype(np.int32),
        (packed & 0xFF).astype(np.uint16),
        np.asarray(ids, np.int64),
        np.asarray(kinds, np.int64),
        np.asarray(lengths, np.float32),
        np.zeros(len(ids), np.bool_),
    )


def _follow(connection: sqlite3.Connection, state: _State, changed: list[int]) -> bool:
    """Apply logged changes; False where there are too many newcomers."""
    kinds = chunk_kinds(connection, changed)
    at = np.searchsorted(state.ids, changed)
    fresh: list[int] = []
    for chunk_id, row in zip(changed, at, strict=True):
        if row < len(state.ids) and state.ids[row] == chunk_id:
            state.gone[row] = chunk_id not in kinds
            state.kinds[row] = kinds.get(chunk_id, 0)
        elif chunk_id not in kinds:
            state.newcomers.pop(chunk_id, None)
        elif chunk_id in state.newcomers:
            state.newcomers[chunk_id].kinds = kinds[chunk_id]
        else:
            fresh.append(chunk_id)
    if len(state.newcomers) + len(fresh) > _NEWCOMERS:
        return False
    for start in range(0, len(fresh), VARIABLES):
        block = fresh[start : start + VARIABLES]
        marks = ",".join("?" * len(block))
        query = f"SELECT rowid, body, context FROM words WHERE rowid IN ({marks})"
        for chunk_id, body, context in connection.execute(query, block):
            words = f"{body} {context}".split()
            state.newcomers[int(chunk_id)] = _Newcomer(kinds[int(chunk_id)], len(words), Counter(words))
    return True


def _total(state: _State) -> int:
    return len(state.ids) - int(state.gone.sum()) + len(state.newcomers)


def _holders(state: _State, term: str) -> int:
    """How many chunks hold a term."""
    number = state.terms.get(term)
    held = 0
    if number is not None:
        rows = state.rows[state.starts[number] : state.starts[number + 1]]
        held = len(rows) - (int(state.gone[rows].sum()) if state.gone.any() else 0)
    return held + sum(term in newcomer.counts for newcomer in state.newcomers.values())


def _table(state: _State, terms: Sequence[str], ids: Sequence[int]) -> WordTable:
    wanted = np.asarray(ids, np.int64)
    at = np.minimum(np.searchsorted(state.ids, wanted), max(len(state.ids) - 1, 0))
    held = (state.ids[at] == wanted) & ~state.gone[at] if len(state.ids) else np.zeros(len(ids), np.bool_)
    chunk_rows = at[held].astype(np.int32)
    late = [(chunk_id, state.newcomers[chunk_id]) for chunk_id in ids if chunk_id in state.newcomers]
    counts = np.zeros((len(chunk_rows) + len(late), len(terms)), np.float32)
    for column, term in enumerate(terms):
        number = state.terms.get(term)
        if number is not None:
            span = slice(int(state.starts[number]), int(state.starts[number + 1]))
            rows = state.rows[span]
            places = np.minimum(np.searchsorted(rows, chunk_rows), len(rows) - 1)
            counts[: len(chunk_rows), column] = np.where(rows[places] == chunk_rows, state.counts[span][places], 0)
        for row, (_, one) in enumerate(late, len(chunk_rows)):
            counts[row, column] = one.counts.get(term, 0)
    lengths = np.concatenate([state.lengths[chunk_rows], np.array([one.length for _, one in late], np.float32)])
    return WordTable([*wanted[held].tolist(), *(chunk_id for chunk_id, _ in late)], lengths, counts)


def _search(state: _State, terms: Sequence[str], limit: int, bits: int) -> list[Hit]:
    total = _total(state)
    if not total or limit <= 0:
        return []
    words = float(state.lengths[~state.gone].sum()) + sum(one.length for one in state.newcomers.values())
    mean = max(words / total, 1e-9)
    scores = np.zeros(len(state.ids), np.float32)
    late = dict.fromkeys(state.newcomers, 0.0)
    for term in dict.fromkeys(terms):
        holders = _holders(state, term)
        if not holders:
            continue
        rarity = max(math.log((total - holders + 0.5) / (holders + 0.5)), 1e-6)
        number = state.terms.get(term)
        if number is not None:
            span = slice(int(state.starts[number]), int(state.starts[number + 1]))
            rows, counts = state.rows[span], state.counts[span].astype(np.float32)
            norm = _K1 * (1 - _B) + (_K1 * _B / mean) * state.lengths[rows]
            scores[rows] += rarity * (counts * (_K1 + 1) / (counts + norm))
        for chunk_id, one in state.newcomers.items():
            if count := one.counts.get(term, 0):
                late[chunk_id] += rarity * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * one.length / mean))
    scores[((state.kinds & bits) == 0) | state.gone] = 0.0
    matched = np.flatnonzero(scores > 0)  # a small part of all, so that only these are sorted
    best = matched[top_rows(scores[matched], limit)]
    hits = [Hit(*pair) for pair in zip(state.ids[best].tolist(), scores[best].tolist(), strict=True)]
    hits += [
        Hit(chunk_id, score) for chunk_id, score in late.items() if score > 0 and state.newcomers[chunk_id].kinds & bits
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))[:limit]
