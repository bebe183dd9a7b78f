"""The word index's own list of terms: which it holds, and in how many chunks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

VARIABLES = 500
_TABLE = "CREATE VIRTUAL TABLE IF NOT EXISTS temp.word_counts USING fts5vocab(main, words, row)"


def counts_of(connection: sqlite3.Connection, terms: Sequence[str]) -> dict[str, int]:
    """How many chunks hold each of these terms; terms that none holds are missing."""
    connection.execute(_TABLE)
    counts: dict[str, int] = {}
    for start in range(0, len(terms), VARIABLES):
        block = list(terms[start : start + VARIABLES])
        marks = ",".join("?" * len(block))
        query = f"SELECT term, doc FROM temp.word_counts WHERE term IN ({marks})"  # noqa: S608 (question marks)
        counts.update((str(term), int(count)) for term, count in connection.execute(query, block))
    return counts


def beginning_with(connection: sqlite3.Connection, beginning: str, limit: int) -> list[str]:
    """The first terms of the index that begin so."""
    connection.execute(_TABLE)
    rows = connection.execute(
        "SELECT term FROM temp.word_counts WHERE term >= ? AND term < ? LIMIT ?",
        (beginning, beginning + "\U0010ffff", limit),
    )
    return [str(row[0]) for row in rows]
