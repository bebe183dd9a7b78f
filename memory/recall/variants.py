"""Words the store has never seen, brought to the nearest ones it has: other forms, and slips of the finger.

A stemmer leaves some forms of one word apart (``настроек`` and ``настройки``; fleeting vowels, irregular plurals), and
people mistype. A term that no chunk holds can only be lost, so it is exchanged for the nearest terms of the index:
those with the same beginning and at most two letters of difference.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping

from memory.recall.vocabulary import beginning_with

SHORTEST = 5  # letters; shorter words have too many neighbours
KEPT = 3  # beginning letters that must agree
MOST = 2  # terms one is exchanged for
WEIGHT = 0.7  # of an exchanged term beside its own
_SCANNED = 400  # terms of the index compared with one unknown term


def with_variants(
    connection: sqlite3.Connection, terms: Mapping[str, float], known: Container[str]
) -> dict[str, float]:
    """Exchange terms that the index does not hold.

    Args:
        connection: the store's.
        terms: the question's terms with their weights.
        known: those of them the index holds.

    Returns:
        The terms to search for; a term without a near one stays, because a question about something the store does not
        know must keep its measure of what is missing.
    """
    result: dict[str, float] = {}
    for term, weight in terms.items():
        near = [] if term in known or len(term) < SHORTEST or not term.isalpha() else nearest(connection, term)
        if not near:
            result[term] = max(weight, result.get(term, 0.0))
        for variant in near:
            result[variant] = max(weight * WEIGHT, result.get(variant, 0.0))
    return result


def nearest(connection: sqlite3.Connection, term: str) -> list[str]:
    """The terms of the index nearest to one it does not hold, at most ``MOST``."""
    # From a long beginning to a short one: the first that yields something is near enough.
    for length in range(len(term) - 2, max(KEPT, len(term) - 5) - 1, -1):
        allowed = 1 if len(term) <= SHORTEST else 2
        distances = _distances(term, beginning_with(connection, term[:length], _SCANNED), allowed)
        if distances:
            return sorted(distances, key=lambda other: (distances[other], other))[:MOST]
    return []


def _distances(term: str, others: Iterable[str], allowed: int) -> dict[str, int]:
    found = {}
    for other in others:
        if abs(len(other) - len(term)) <= allowed and other.isalpha():
            distance = edit_distance(term, other)
            if distance <= allowed:
                found[other] = distance
    return found


def edit_distance(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with the next to make one word the other (optimal alignment)."""
    before: list[int] = []
    previous = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, against in enumerate(other, 1):
            cost = min(
                previous[column] + 1,
                current[column - 1] + 1,
                previous[column - 1] + (letter != against),
            )
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == against:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, previous = previous, current
    return previous[-1]
