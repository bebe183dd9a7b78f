"""Putting and removing documents: one transaction each, so that a kill leaves the document as it was or as it is.

A chunk is stored once however many documents hold it; its key is the SHA-256 of its normalised text and its context.
What a change touched is written to ``changes`` in the same transaction, and caches follow that log.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.recall.text import index_terms
from memory.store.schema import KIND_BITS, PRIVATE_BIT
from memory.store.values import HEADING_SEPARATOR, DocumentInfo, Piece, PutResult

KEPT_CHANGES = 200_000
"""Length of the log of changes; a cache further behind than this reads everything again."""
VARIABLES = 500
"""Ids bound in one statement, well below SQLite's limit."""


def chunk_hash(text: str, context: str) -> bytes:
    """Return the content address of a chunk: SHA-256 of NFC text without trailing blanks, and its context."""
    lines = (line.rstrip() for line in unicodedata.normalize("NFC", text).splitlines())
    return hashlib.sha256(("\n".join(lines).strip() + "\0" + context).encode("utf-8", "surrogatepass")).digest()


def estimate_tokens(text: str) -> int:
    """Estimate tokens of a text for any model: a quarter of its UTF-8 bytes, at least 1."""
    return max(1, (len(text.encode("utf-8", "surrogatepass")) + 3) // 4)


def context_of(title: str, heading: Sequence[str]) -> str:
    """Join title and heading path, the title left out where the path already begins with it."""
    parts = [part for part in heading if part]
    if title and (not parts or parts[0] != title):
        parts.insert(0, title)
    return HEADING_SEPARATOR.join(parts)


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """A piece with what is costly to compute, done before the write lock is taken."""

    piece: Piece
    context: str
    digest: bytes
    words: tuple[str, str] | None
    """Index terms of text and context; None where the chunk was stored already."""


def prepare(connection: sqlite3.Connection, pieces: Iterable[Piece], title: str) -> list[PreparedChunk]:
    """Hash pieces and compute the index terms of those that are new; needs no transaction.

    Args:
        connection: To look up what is stored.
        pieces: The chunks of one document.
        title: Put before every heading path; empty where the document has no title of its own.
    """
    out = []
    for piece in pieces:
        context = context_of(title, piece.heading)
        digest = chunk_hash(piece.text, context)
        known = connection.execute("SELECT 1 FROM chunks WHERE hash = ?", (digest,)).fetchone()
        out.append(
            PreparedChunk(piece, context, digest, None if known else (index_terms(piece.text), index_terms(context)))
        )
    return out


def put(
    connection: sqlite3.Connection, kind: str, uri: str, chunks: Sequence[PreparedChunk], info: DocumentInfo
) -> PutResult:
    """Store a document's chunks in the open transaction, replacing what it held before.

    Args:
        connection: A connection inside a transaction.
        kind: One of ``KIND_BITS``.
        uri: The document's name within its kind, e.g. an absolute path.
        chunks: Its chunks in order.
        info: What to record beside them.

    Returns:
        Counts of chunks in all, newly stored, and no longer held by anyone and so removed.
    """
    document_id = _upsert(connection, kind, uri, info)
    before = _chunk_ids(connection, document_id)
    connection.execute("DELETE FROM placements WHERE document_id = ?", (document_id,))
    rows, new = [], 0
    for ordinal, chunk in enumerate(chunks):
        chunk_id, is_new = _chunk(connection, chunk)
        new += is_new
        piece = chunk.piece
        heading = HEADING_SEPARATOR.join(piece.heading)
        pages = (piece.page_start, piece.page_end)
        rows.append((document_id, chunk_id, ordinal, heading, piece.start, piece.end, piece.line, *pages))
    connection.executemany(
        "INSERT INTO placements(document_id, chunk_id, ordinal, heading, char_start, char_end, line_start,"
        " page_start, page_end) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    removed = refresh_chunks(connection, before | {row[1] for row in rows})
    return PutResult(document_id, len(rows), new, removed)


def put_failed(connection: sqlite3.Connection, kind: str, uri: str, reason: str, info: DocumentInfo) -> None:
    """Record that a document could not be read; what it held before is removed, for it may no longer be true."""
    put(connection, kind, uri, (), info)
    connection.execute(
        "UPDATE documents SET status = 'failed', reason = ? WHERE kind = ? AND uri = ?", (reason, kind, uri)
    )


def touch(connection: sqlite3.Connection, document_id: int, mtime_ns: int, size: int) -> None:
    """Record that a file's bytes are still the same although its time has changed."""
    connection.execute("UPDATE documents SET mtime_ns = ?, size = ? WHERE id = ?", (mtime_ns, size, document_id))


def remove(connection: sqlite3.Connection, document_ids: Iterable[int]) -> int:
    """Remove documents with every chunk nobody else holds, its words and vectors; return chunks removed."""
    touched: set[int] = set()
    for document_id in list(document_ids):
        touched |= _chunk_ids(connection, document_id)
        connection.execute("DELETE FROM placements WHERE document_id = ?", (document_id,))
        connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))
    return refresh_chunks(connection, touched)


def set_private(connection: sqlite3.Connection, document_id: int, private: bool) -> None:
    """Mark or unmark a document as private and update what search may return."""
    connection.execute("UPDATE documents SET private = ? WHERE id = ?", (int(private), document_id))
    refresh_chunks(connection, _chunk_ids(connection, document_id))


def refresh_chunks(connection: sqlite3.Connection, chunk_ids: set[int]) -> int:
    """Recompute the kind bits of these chunks, drop those without a source, and log the changes."""
    orphans: list[int] = []
    changed: list[int] = []
    for chunk_id in sorted(chunk_ids):
        bits, sources = 0, 0
        for kind, private in connection.execute(
            "SELECT d.kind, d.private FROM placements p JOIN documents d ON d.id = p.document_id WHERE p.chunk_id = ?",
            (chunk_id,),
        ):
            sources += 1
            bits |= PRIVATE_BIT if private else KIND_BITS[kind]
        if not sources:
            orphans.append(chunk_id)
        elif connection.execute(
            "UPDATE chunks SET kinds = ? WHERE id = ? AND kinds <> ?", (bits, chunk_id, bits)
        ).rowcount:
            changed.append(chunk_id)
    drop_chunks(connection, orphans)
    log_changes(connection, changed)
    return len(orphans)


def drop_chunks(connection: sqlite3.Connection, chunk_ids: Sequence[int]) -> None:
    """Delete chunks with their words and vectors, and log it."""
    for chunk_id in chunk_ids:
        connection.execute("DELETE FROM words WHERE rowid = ?", (chunk_id,))
        connection.execute("DELETE FROM vectors WHERE chunk_id = ?", (chunk_id,))
        connection.execute("DELETE FROM chunks WHERE id = ?", (chunk_id,))
    log_changes(connection, chunk_ids)


def log_changes(connection: sqlite3.Connection, chunk_ids: Sequence[int]) -> None:
    """Append to the log of changes and keep its length bounded."""
    if not chunk_ids:
        return
    connection.executemany("INSERT INTO changes(chunk_id) VALUES (?)", ((chunk_id,) for chunk_id in chunk_ids))
    connection.execute("DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?", (KEPT_CHANGES,))


def _upsert(connection: sqlite3.Connection, kind: str, uri: str, info: DocumentInfo) -> int:
    now = time.time()
    row = connection.execute(
        "INSERT INTO documents(kind, uri, title, content_hash, size, mtime_ns, format, status, reason, mark, root,"
        " private, added_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'ready', '', ?, ?, ?, ?, ?)"
        " ON CONFLICT(kind, uri) DO UPDATE SET title = excluded.title, content_hash = excluded.content_hash,"
        " size = excluded.size, mtime_ns = excluded.mtime_ns, format = excluded.format, status = 'ready', reason = '',"
        " mark = excluded.mark, root = excluded.root, private = excluded.private, updated_at = excluded.updated_at"
        " RETURNING id",
        (
            kind,
            uri,
            info.title,
            info.content_hash,
            info.size,
            info.mtime_ns,
            info.format,
            info.mark,
            info.root,
            int(info.private),
            now,
            now,
        ),
    ).fetchone()
    return int(row[0])


def _chunk(connection: sqlite3.Connection, chunk: PreparedChunk) -> tuple[int, bool]:
    row = connection.execute("SELECT id FROM chunks WHERE hash = ?", (chunk.digest,)).fetchone()
    if row:
        return int(row[0]), False
    text, context = chunk.piece.text, chunk.context
    words = chunk.words or (index_terms(text), index_terms(context))  # it was there when prepared, and is gone again
    cursor = connection.execute(
        "INSERT INTO chunks(hash, text, context, n_tokens) VALUES (?, ?, ?, ?)",
        (chunk.digest, text, context, estimate_tokens(text)),
    )
    chunk_id = int(cursor.lastrowid or 0)
    connection.execute("INSERT INTO words(rowid, body, context) VALUES (?, ?, ?)", (chunk_id, *words))
    return chunk_id, True


def _chunk_ids(connection: sqlite3.Connection, document_id: int) -> set[int]:
    rows = connection.execute("SELECT chunk_id FROM placements WHERE document_id = ?", (document_id,))
    return {int(row[0]) for row in rows}


def model_id(connection: sqlite3.Connection, name: str, dim: int) -> int:
    """Return the id of a model, recorded on first use; a changed dimension drops its old vectors."""
    row = connection.execute("SELECT id, dim FROM models WHERE name = ?", (name,)).fetchone()
    if row and int(row[1]) == dim:
        return int(row[0])
    if row:
        drop_model(connection, name)
    cursor = connection.execute("INSERT INTO models(name, dim) VALUES (?, ?)", (name, dim))
    return int(cursor.lastrowid or 0)


def drop_vectors(connection: sqlite3.Connection, model: str) -> None:
    """Delete a model's vectors, and log whose they were: what is held of them in memory would answer on."""
    of_model = "FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?)"
    rows = connection.execute(f"SELECT chunk_id {of_model} ORDER BY chunk_id", (model,))
    log_changes(connection, [int(row[0]) for row in rows])
    connection.execute(f"DELETE {of_model}", (model,))


def drop_model(connection: sqlite3.Connection, model: str) -> None:
    """Delete a model and its vectors."""
    drop_vectors(connection, model)
    connection.execute("DELETE FROM models WHERE name = ?", (model,))


def put_vectors(connection: sqlite3.Connection, model: str, vectors: Iterable[tuple[int, NDArray[np.float32]]]) -> int:
    """Store unit vectors by chunk id; chunks that are gone are passed over, present vectors replaced."""
    stored: list[int] = []
    for chunk_id, vector in vectors:
        unit = np.asarray(vector, np.float32)
        norm = float(np.linalg.norm(unit))
        if not np.isfinite(norm) or norm == 0.0:
            continue
        if not connection.execute("SELECT 1 FROM chunks WHERE id = ?", (chunk_id,)).fetchone():
            continue
        connection.execute(
            "INSERT INTO vectors(chunk_id, model_id, vector) VALUES (?, ?, ?)"
            " ON CONFLICT(model_id, chunk_id) DO UPDATE SET vector = excluded.vector",
            (chunk_id, model_id(connection, model, unit.shape[0]), (unit / norm).astype("<f4").tobytes()),
        )
        stored.append(chunk_id)
    log_changes(connection, stored)
    return len(stored)
