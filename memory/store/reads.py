"""Queries that change nothing: the word index, chunks with their sources, the manifest, counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory.store.schema import KIND_BITS, PRIVATE_BIT
from memory.store.values import HEADING_SEPARATOR, Chunk, Document, Hit, Placement, Source, StoreStats
from memory.store.writes import VARIABLES

_DOCUMENT = (
    "d.id, d.kind, d.uri, d.title, d.content_hash, d.size, d.mtime_ns, d.format, d.status, d.reason, d.mark, d.root,"
    " d.private, d.added_at, d.updated_at"
)
_PLACEMENT = (
    "p.id, p.document_id, p.chunk_id, p.ordinal, p.heading, p.char_start, p.char_end, p.line_start, p.page_start,"
    " p.page_end"
)
CONTEXT_WEIGHT = 1.0
"""Weight of the title and heading column against the body in BM25."""


def search_words(connection: sqlite3.Connection, terms: Sequence[str], limit: int, bits: int) -> list[Hit]:
    """Rank chunks by BM25 (FTS5's own, k1 1.2, b 0.75) over any of the terms.

    The kind filter is applied after ranking, on a list that grows until enough pass: filtering every match first
    would read a chunk row for each of them.
    """
    wanted = [term for term in terms if term]
    if not wanted or limit <= 0:
        return []
    expression = " OR ".join('"' + term.replace('"', '""') + '"' for term in wanted)
    ask = limit + 16
    while True:
        ranked = connection.execute(
            "SELECT w.rowid, w.score, c.kinds FROM (SELECT rowid, bm25(words, 1.0, ?) AS score FROM words"
            " WHERE words MATCH ? ORDER BY score LIMIT ?) w JOIN chunks c ON c.id = w.rowid ORDER BY w.score, w.rowid",
            (CONTEXT_WEIGHT, expression, ask),
        ).fetchall()
        hits = [Hit(int(row[0]), -float(row[1])) for row in ranked if row[2] & bits]
        if len(hits) >= limit or len(ranked) < ask:
            return hits[:limit]
        ask *= 4


def chunks(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Chunk]:
    """Read chunks with every placement and document that holds them, in the order of ``ids``."""
    found: dict[int, tuple[str, str, int]] = {}
    sources: dict[int, list[Source]] = {}
    for block in _blocks(ids):
        marks = ",".join("?" * len(block))
        for row in connection.execute(
            f"SELECT id, text, context, n_tokens FROM chunks WHERE id IN ({marks})",
            block,
        ):
            found[row[0]] = (row[1], row[2], row[3])
        for row in connection.execute(
            f"SELECT {_PLACEMENT}, {_DOCUMENT} FROM placements p JOIN documents d ON d.id = p.document_id"
            f" WHERE p.chunk_id IN ({marks}) ORDER BY d.kind, d.uri, p.ordinal",
            block,
        ):
            placement = _placement(row[:10])
            sources.setdefault(placement.chunk_id, []).append(Source(placement, _document(row[10:])))
    return [Chunk(cid, *found[cid], tuple(sources.get(cid, ()))) for cid in ids if cid in found]


def neighbours(connection: sqlite3.Connection, placement: Placement, n: int) -> list[tuple[Placement, Chunk]]:
    """Read the chunks whose ordinal is within ``n`` of a placement's in the same document."""
    return _placed(
        connection,
        "p.document_id = ? AND p.ordinal BETWEEN ? AND ?",
        (placement.document_id, placement.ordinal - n, placement.ordinal + n),
    )


def document_chunks(connection: sqlite3.Connection, document_id: int) -> list[tuple[Placement, Chunk]]:
    """Read a document's chunks in order."""
    return _placed(connection, "p.document_id = ?", (document_id,))


def documents(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Document]:
    """Read documents by a condition written by the caller (never from outside)."""
    query = f"SELECT {_DOCUMENT} FROM documents d WHERE {where} ORDER BY d.kind, d.uri"
    return [_document(row) for row in connection.execute(query, values)]


def pending(connection: sqlite3.Connection, model: str, limit: int, after: int = 0) -> list[Chunk]:
    """Read chunks without a vector of this model, oldest first."""
    rows = connection.execute(
        "SELECT c.id, c.text, c.context, c.n_tokens FROM chunks c WHERE c.id > ? AND NOT EXISTS (SELECT 1"
        " FROM vectors v WHERE v.chunk_id = c.id AND v.model_id = (SELECT id FROM models WHERE name = ?))"
        " ORDER BY c.id LIMIT ?",
        (after, model, limit),
    )
    return [Chunk(*row) for row in rows]


def count_pending(connection: sqlite3.Connection, model: str) -> int:
    """Count chunks without a vector of this model."""
    total = connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
    return int(total) - count_vectors(connection, model)


def count_vectors(connection: sqlite3.Connection, model: str) -> int:
    """Count the vectors of a model."""
    row = connection.execute(
        "SELECT count(*) FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?)", (model,)
    ).fetchone()
    return int(row[0])


def vectors(connection: sqlite3.Connection, model: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Iterate over a model's vectors in order of chunk id."""
    last = -1
    while True:
        block = connection.execute(
            "SELECT chunk_id, vector FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?)"
            " AND chunk_id > ? ORDER BY chunk_id LIMIT 1000",
            (model, last),
        ).fetchall()
        if not block:
            return
        for chunk_id, blob in block:
            yield int(chunk_id), np.frombuffer(blob, "<f4")
        last = int(block[-1][0])


def vectors_of(connection: sqlite3.Connection, model: str, ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Read the vectors of these chunks."""
    out: dict[int, NDArray[np.float32]] = {}
    for block in _blocks(ids):
        marks = ",".join("?" * len(block))
        for chunk_id, blob in connection.execute(
            f"SELECT chunk_id, vector FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?)"
            f" AND chunk_id IN ({marks})",
            (model, *block),
        ):
            out[int(chunk_id)] = np.frombuffer(blob, "<f4")
    return out


def vector_ids(connection: sqlite3.Connection, model: str) -> list[int]:
    """Read the ids of all chunks with a vector of this model, in order."""
    rows = connection.execute(
        "SELECT chunk_id FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?) ORDER BY chunk_id",
        (model,),
    )
    return [int(row[0]) for row in rows]


def chunk_kinds(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, int]:
    """Read the kind bits of these chunks."""
    out: dict[int, int] = {}
    for block in _blocks(ids):
        marks = ",".join("?" * len(block))
        out.update(connection.execute(f"SELECT id, kinds FROM chunks WHERE id IN ({marks})", block).fetchall())
    return out


def stats(connection: sqlite3.Connection, path: Path) -> StoreStats:
    """Count documents by kind, chunks, placements, tokens and vectors by model."""
    one = connection.execute
    kinds = {kind: 0 for kind in KIND_BITS} | dict(
        one("SELECT kind, count(*) FROM documents WHERE status = 'ready' GROUP BY kind").fetchall()
    )
    by_model = one(
        "SELECT m.name, (SELECT count(*) FROM vectors v WHERE v.model_id = m.id) FROM models m ORDER BY m.name"
    ).fetchall()
    size = sum(part.stat().st_size for part in (path, path.with_name(path.name + "-wal")) if part.exists())
    chunk_count, tokens = one("SELECT count(*), coalesce(sum(n_tokens), 0) FROM chunks").fetchone()
    return StoreStats(
        documents=kinds,
        failed=int(one("SELECT count(*) FROM documents WHERE status = 'failed'").fetchone()[0]),
        chunks=int(chunk_count),
        placements=int(one("SELECT count(*) FROM placements").fetchone()[0]),
        tokens=int(tokens),
        vectors={str(name): int(count) for name, count in by_model},
        bytes=size,
    )


def _placed(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[tuple[Placement, Chunk]]:
    query = (
        f"SELECT {_PLACEMENT}, c.id, c.text, c.context, c.n_tokens FROM placements p"
        f" JOIN chunks c ON c.id = p.chunk_id WHERE {where} ORDER BY p.ordinal"
    )
    return [(_placement(row[:10]), Chunk(*row[10:])) for row in connection.execute(query, values)]


def _placement(row: tuple[object, ...]) -> Placement:
    values = list(row)
    values[4] = tuple(str(row[4]).split(HEADING_SEPARATOR)) if row[4] else ()
    return Placement(*values)  # type: ignore[arg-type]  # SQLite's types are fixed by the schema


def _document(row: tuple[object, ...]) -> Document:
    values = list(row)
    values[12] = bool(row[12])
    return Document(*values)  # type: ignore[arg-type]  # SQLite's types are fixed by the schema


def _blocks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + VARIABLES] for start in range(0, len(ids), VARIABLES))


__all__ = ["CONTEXT_WEIGHT", "PRIVATE_BIT", "search_words"]
