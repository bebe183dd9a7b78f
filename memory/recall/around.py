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
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memory.recall.terms import Terms
from memory.recall.values import Tuning
from memory.store.schema import KIND_BITS

_VARIABLES = 500
Known = Callable[[Sequence[str], Sequence[int]], dict[int, tuple[int, dict[str, int]]] | None]
"""Terms and chunk ids to each chunk's length and counts; None where that is not in memory."""


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
) -> dict[int, Around]:
    """Score chunks by their own words and their neighbours'.

    Args:
        connection: the store's.
        chunk_ids: the candidates.
        terms: the question's terms with their weights.
        tuning: field weights and BM25's constants.
        bits: kinds that may be searched; neighbours come from documents of these kinds that are not private.
        known: counts terms in chunks where the store has that in memory (``Store.word_frequencies``).

    Returns:
        Score and coverage for every candidate that still exists.
    """
    neighbours = _neighbours(connection, chunk_ids, len(tuning.near), bits)
    wanted = set(chunk_ids) | {other for near in neighbours.values() for _, other in near}
    counted = known(list(terms.weights), list(wanted)) if known is not None else None
    if counted is None:
        counted = {chunk_id: _count(text, terms.weights) for chunk_id, text in _texts(connection, wanted).items()}
    lengths: dict[int, float] = {}
    frequencies: dict[int, dict[str, float]] = {}
    for chunk_id in chunk_ids:
        if chunk_id not in counted:
            continue
        frequency: dict[str, float] = defaultdict(float)
        length = 0.0
        for weight, other in [(1.0, chunk_id), *((tuning.near[d - 1], o) for d, o in neighbours.get(chunk_id, ()))]:
            if other not in counted:
                continue
            words, counts = counted[other]
            length += weight * words
            for term, count in counts.items():
                frequency[term] += weight * count
        frequencies[chunk_id], lengths[chunk_id] = frequency, length
    mean = sum(lengths.values()) / len(lengths) if lengths else 1.0
    return {
        chunk_id: _score(frequency, counted[chunk_id][1], lengths[chunk_id] / (mean or 1.0), terms, tuning)
        for chunk_id, frequency in frequencies.items()
    }


def _score(
    frequency: Mapping[str, float], own: Mapping[str, int], relative_length: float, terms: Terms, tuning: Tuning
) -> Around:
    norm = tuning.k1 * (1 - tuning.b + tuning.b * relative_length)
    score = sum(
        terms.weights[term] * count * (tuning.k1 + 1) / (count + norm) for term, count in frequency.items() if count
    )
    whole = sum(terms.weights.values()) or 1.0
    direct = tuning.near[0] if tuning.near else 1.0
    covered = sum(terms.weights[term] for term, count in frequency.items() if count >= direct)
    return Around(score, covered / whole, sum(terms.weights[term] for term in own) / whole)


def _count(text: str, weights: Mapping[str, float]) -> tuple[int, dict[str, int]]:
    """How many terms a text has, and how often each wanted one occurs."""
    # Searching in the string runs in C, ten times faster than splitting it; doubled blanks let neighbours both match.
    padded = f" {text.replace(' ', '  ')} "
    counts = {term: padded.count(f" {term} ") for term in weights}
    return text.count(" ") + 1, {term: count for term, count in counts.items() if count}


def _neighbours(
    connection: sqlite3.Connection, chunk_ids: Sequence[int], reach: int, bits: int
) -> dict[int, list[tuple[int, int]]]:
    """For each chunk, ``(distance, other chunk)`` in its documents; a repeated text takes its first few places only."""
    found: dict[int, list[tuple[int, int]]] = {}
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
            near = found.setdefault(int(chunk_id), [])
            if len(near) < 2 * reach:
                near.append((int(distance), int(other)))
    return found


def _texts(connection: sqlite3.Connection, chunk_ids: Iterable[int]) -> dict[int, str]:
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
