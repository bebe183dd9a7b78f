"""Exact search over stored vectors without holding them: for a process that asks once and ends.

The vectors pass through in blocks, in the order they lie on the disk; what stays of each is its id and its score. The
kinds of chunks are looked at for the best only, for reading them all would mean reading every text.
"""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from memory.store.matrix import top_rows
from memory.store.reads import chunk_kinds
from memory.store.values import Hit

WORTH_FROM = 200_000
"""Vectors from which on reading them for one question alone is worth a way of its own."""
_BLOCK = 4096


def search_streamed(
    connection: sqlite3.Connection, model: str, query: NDArray[np.float32], limit: int, bits: int
) -> list[Hit]:
    """Return what ``VectorMatrix.search`` would, best first, scored by cosine.

    Args:
        connection: The store's.
        model: Whose vectors.
        query: One unit vector, shape ``(dim,)``.
        limit: How many hits at most.
        bits: Kind bits; a chunk with none of them is passed over.
    """
    known = connection.execute("SELECT id, dim FROM models WHERE name = ?", (model,)).fetchone()
    if known is None or query.shape != (int(known[1]),):
        return []
    ids, scores = _scored(connection, int(known[0]), query.astype(np.float32, copy=False))
    ask = limit
    while True:
        best = top_rows(scores, ask)
        kinds = chunk_kinds(connection, ids[best].tolist())
        ranked = zip(ids[best].tolist(), scores[best].tolist(), strict=True)
        hits = [Hit(chunk_id, score) for chunk_id, score in ranked if kinds.get(chunk_id, 0) & bits]
        if len(hits) >= limit or ask >= len(ids):
            return hits[:limit]
        ask *= 4


def _scored(
    connection: sqlite3.Connection, model_id: int, query: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    # NOT INDEXED: the table from front to back; by the index every row would be looked up on its own.
    cursor = connection.execute("SELECT chunk_id, vector FROM vectors NOT INDEXED WHERE model_id = ?", (model_id,))
    while block := cursor.fetchmany(_BLOCK):
        rows = np.frombuffer(b"".join(row[1] for row in block), "<f4").reshape(-1, len(query))
        ids.append(np.array([row[0] for row in block], np.int64))
        scores.append(rows @ query)
    return np.concatenate(ids), np.concatenate(scores)
