"""Word scores over a chunk and what stands next to it.

A chunk is cut where a limit falls, and the words that make it findable often stand in the chunk before or after: the
question a turn of a conversation answers, the signature above a function's body. So every candidate of either route is
scored again by BM25 over fields (BM25F, Robertson and Zaragoza 2009): its own words at weight 1, title and headings at
1, the neighbours one place away at 0.3, two places away at 0.1. Terms in several fields saturate together, which is
what plain smoothing of scores cannot do. Measured on conversations and code, it adds more than any other single step.

The index already holds every chunk's terms, so nothing is tokenised again here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.recall.terms import Terms
from memory.recall.values import Tuning
from memory.store import WordTable
from memory.store.schema import KIND_BITS

_VARIABLES = 500
Known = Callable[[Sequence[str], Sequence[int]], WordTable | None]
"""Terms and chunk ids to each chunk's length and counts; None where that is not in memory."""
Neighbour = tuple[int, int, int]
"""A chunk, a distance in places, and the chunk that far from it in one of its documents."""


@dataclass(frozen=True, slots=True)
class Around:
    """The outcome for one chunk."""

    score: float
    coverage: float
    """Share of the question's weight that the chunk, its headings or its direct neighbours contain, 0..1."""
    own: float
    """The same for the chunk and its headings alone."""


def score_around(
    connection: sqlite3.Connection,
    chunk_ids: Sequence[int],
    terms: Terms,
    tuning: Tuning,
    bits: int,
    known: Known | None = None,
    near: Sequence[Neighbour] | None = None,
) -> dict[int, Around]:
    """Score chunks by their own words and their neighbours'.

    Args:
        connection: the store's.
        chunk_ids: the candidates, each once.
        terms: the question's terms with their weights.
        tuning: field weights and BM25's constants.
        bits: kinds that may be searched; neighbours come from documents of these kinds that are not private.
        known: counts terms in chunks where the store has that in memory (``Store.word_table``).
        near: the neighbours of these chunks (``neighbours``) where the caller has looked them up already.

    Returns:
        Score and coverage for every candidate that still exists.
    """
    names = list(terms.weights)
    if near is None:
        near = neighbours(connection, chunk_ids, len(tuning.near), bits)
    wanted = list(dict.fromkeys([*chunk_ids, *(other for _, _, other in near)]))
    table = known(names, wanted) if known is not None else None
    if table is None:
        table = _counted(connection, names, wanted)
    if not table.ids:
        return {}
    at = {chunk_id: row for row, chunk_id in enumerate(table.ids)}
    here = [chunk_id for chunk_id in chunk_ids if chunk_id in at]
    place = {chunk_id: number for number, chunk_id in enumerate(here)}
    own = [at[chunk_id] for chunk_id in here]
    frequencies = table.counts[own].astype(np.float64)
    lengths = table.lengths[own].astype(np.float64)
    edges = [(place[one], at[other], tuning.near[d - 1]) for one, d, other in near if one in place and other in at]
    if edges:
        to, source, weight = (np.array(column) for column in zip(*edges, strict=True))
        np.add.at(frequencies, to, weight[:, None] * table.counts[source])
        np.add.at(lengths, to, weight * table.lengths[source])
    return dict(zip(here, _scores(frequencies, table.counts[own], lengths, terms, tuning), strict=True))


def _scores(
    frequencies: NDArray[np.float64],
    own: NDArray[np.float32],
    lengths: NDArray[np.float64],
    terms: Terms,
    tuning: Tuning,
) -> list[Around]:
    """BM25 over weighted frequencies, shape ``(chunks, terms)``, with the candidates' own mean length."""
    weights = np.array(list(terms.weights.values()))
    norm = tuning.k1 * (1 - tuning.b + tuning.b * lengths / (lengths.mean() or 1.0))
    scores = (frequencies * (tuning.k1 + 1) / (frequencies + norm[:, None])) @ weights
    whole = weights.sum() or 1.0
    direct = tuning.near[0] if tuning.near else 1.0
    coverage = (frequencies >= direct) @ weights / whole
    alone = (own > 0) @ weights / whole
    return [Around(*row) for row in zip(scores.tolist(), coverage.tolist(), alone.tolist(), strict=True)]


def _counted(connection: sqlite3.Connection, names: Sequence[str], chunk_ids: Iterable[int]) -> WordTable:
    """How many terms each chunk has, and how often each wanted one occurs, read from the word index."""
    texts = _texts(connection, chunk_ids)
    # Searching in the string runs in C, ten times faster than splitting it; doubled blanks let neighbours both match.
    padded = [f" {text.replace(' ', '  ')} " for text in texts.values()]
    counts = [[text.count(f" {name} ") for name in names] for text in padded]
    lengths = [text.count(" ") + 1 for text in texts.values()]
    shape = (len(texts), len(names))
    return WordTable(list(texts), np.array(lengths, np.float32), np.array(counts, np.float32).reshape(shape))


def neighbours(connection: sqlite3.Connection, chunk_ids: Sequence[int], reach: int, bits: int) -> list[Neighbour]:
    """Look up what stands up to ``reach`` places away; a repeated text takes its first few places only."""
    found: list[Neighbour] = []
    taken: dict[int, int] = {}
    if not reach:
        return found
    kinds = _kinds_of(bits)
    kind_marks = ",".join("?" * len(kinds))
    for start in range(0, len(chunk_ids), _VARIABLES):
        block = list(chunk_ids[start : start + _VARIABLES])
        marks = ",".join("?" * len(block))
        query = (
            "SELECT p.chunk_id, abs(q.ordinal - p.ordinal), q.chunk_id FROM placements p"  # noqa: S608 (marks only)
            # CROSS JOIN fixes the order: from few chunks outwards, never from all documents of a kind.
            " CROSS JOIN documents d ON d.id = p.document_id CROSS JOIN placements q ON q.document_id = p.document_id"
            " AND q.ordinal BETWEEN p.ordinal - ? AND p.ordinal + ? AND q.ordinal <> p.ordinal"
            f" WHERE p.chunk_id IN ({marks}) AND d.private = 0 AND d.kind IN ({kind_marks})"
        )
        for chunk_id, distance, other in connection.execute(query, (reach, reach, *block, *kinds)):
            count = taken.get(chunk_id, 0)
            if count < 2 * reach:
                taken[chunk_id] = count + 1
                found.append((chunk_id, distance, other))
    return found


def _texts(connection: sqlite3.Connection, chunk_ids: Iterable[int]) -> Mapping[int, str]:
    """The stored terms of these chunks: title and headings, then the body."""
    ids = sorted(chunk_ids)
    texts: dict[int, str] = {}
    for start in range(0, len(ids), _VARIABLES):
        block = ids[start : start + _VARIABLES]
        marks = ",".join("?" * len(block))
        query = f"SELECT rowid, context || ' ' || body FROM words WHERE rowid IN ({marks})"  # noqa: S608 (marks only)
        texts.update((int(row), str(text)) for row, text in connection.execute(query, block))
    return texts


def _kinds_of(bits: int) -> list[str]:
    return [kind for kind, bit in KIND_BITS.items() if bits & bit]
