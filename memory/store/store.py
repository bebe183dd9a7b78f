"""The store as the rest of fovea sees it: put and remove documents, search by words and by vectors, read chunks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory.chunking import chunk_text
from memory.store import reads, writes
from memory.store.database import Database, translated
from memory.store.matrix import VectorMatrix, data_version
from memory.store.schema import KIND_BITS, PRIVATE_BIT
from memory.store.values import (
    Chunk,
    Document,
    DocumentInfo,
    Hit,
    Piece,
    Placement,
    PutResult,
    Source,
    StoreStats,
    WordTable,
)
from memory.store.wordmatrix import WORTH_FROM, WordMatrix

Vector = NDArray[np.float32]
VectorRoute = Callable[[str, Vector, int, int], list[Hit] | None]
"""Model, query, limit and kind bits to hits; None where it cannot answer now."""


class Store:
    """Documents, chunks, vectors and the word index of one data folder; safe to share between threads.

    Args:
        folder: The data folder; ``memory.db`` lies in it.
        read_only: Refuse every write.

    Raises:
        StoreError: The file cannot be opened; the subclass says why.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.database = Database(folder, read_only=read_only)
        self.vector_route: VectorRoute | None = None
        """Another way to search vectors, asked first; where it gives None the exact search answers."""
        self._matrices: dict[str, VectorMatrix] = {}
        self._words = WordMatrix(self.database)
        self._guard = threading.Lock()

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.database.folder

    @property
    def version(self) -> int:
        """A number that grows with every change of chunks, vectors or privacy."""
        with translated(self.database.path):
            return data_version(self.database.connection)

    # Writing ---------------------------------------------------------------------------------------------------

    def put_document(
        self,
        kind: str,
        uri: str,
        title: str,
        text: str,
        *,
        format: str = "markdown",
        content_hash: str = "",
        private: bool = False,
        info: DocumentInfo | None = None,
    ) -> PutResult:
        """Chunk a text and store it, replacing what ``uri`` held before; chunks that did not change keep their vectors.

        Args:
            kind: ``note``, ``lesson``, ``conversation``, ``file`` or ``url``.
            uri: Its name within the kind.
            title: Shown with every passage and part of what is indexed and embedded.
            text: The whole text.
            format: How to read its structure: ``markdown``, ``text``, or a language's name.
            content_hash: The caller's own hash, to find out later whether anything changed.
            private: Never recalled.
            info: Anything more to record; its title, hash, format and privacy are overruled by the arguments above.
        """
        base = info or DocumentInfo()
        full = DocumentInfo(
            title=title,
            content_hash=content_hash or base.content_hash,
            size=base.size or len(text.encode("utf-8", "surrogatepass")),
            mtime_ns=base.mtime_ns,
            format=format,
            mark=base.mark,
            root=base.root,
            private=private,
        )
        return self.put_pieces(kind, uri, chunk_text(text, format), full)

    def put_pieces(
        self, kind: str, uri: str, pieces: Sequence[Piece], info: DocumentInfo, *, titled: bool = True
    ) -> PutResult:
        """Store a document whose chunks are already cut.

        Args:
            kind: One of ``KIND_BITS``.
            uri: Its name within the kind.
            pieces: Its chunks in order.
            info: What to record beside them.
            titled: Whether the title is part of every chunk (it is the document's own, not its file's name).
        """
        with translated(self.database.path):
            prepared = writes.prepare(self.database.connection, pieces, info.title if titled else "")
        with self.database.transaction() as connection:
            return writes.put(connection, kind, uri, prepared, info)

    def put_failed(self, kind: str, uri: str, reason: str, info: DocumentInfo) -> None:
        """Record that a document could not be read, and drop what it held."""
        with self.database.transaction() as connection:
            writes.put_failed(connection, kind, uri, reason, info)

    def touch(self, document: Document, mtime_ns: int, size: int) -> None:
        """Record that a document's bytes are still the same although its time has changed."""
        with self.database.transaction() as connection:
            writes.touch(connection, document.id, mtime_ns, size)

    def remove_document(self, kind: str, uri: str) -> bool:
        """Remove a document with every chunk nobody else holds; return whether it was there."""
        with self.database.transaction() as connection:
            row = connection.execute("SELECT id FROM documents WHERE kind = ? AND uri = ?", (kind, uri)).fetchone()
            if row is None:
                return False
            writes.remove(connection, [int(row[0])])
            return True

    def set_private(self, kind: str, uri: str, private: bool) -> bool:
        """Mark or unmark a document as never to be recalled; return whether it was there."""
        with self.database.transaction() as connection:
            row = connection.execute("SELECT id FROM documents WHERE kind = ? AND uri = ?", (kind, uri)).fetchone()
            if row is None:
                return False
            writes.set_private(connection, int(row[0]), private)
            return True

    def put_vectors(self, model: str, vectors: Iterable[tuple[int, Vector]]) -> int:
        """Store vectors by chunk id under a model's name, normalised to unit length; return how many were stored.

        Chunks that have been removed meanwhile are passed over.
        """
        with self.database.transaction() as connection:
            return writes.put_vectors(connection, model, vectors)

    def drop_vectors(self, model: str) -> None:
        """Delete all vectors of a model, so that every chunk is embedded again."""
        with self.database.transaction() as connection:
            writes.log_changes(connection, reads.vector_ids(connection, model))
            connection.execute("DELETE FROM vectors WHERE model_id = (SELECT id FROM models WHERE name = ?)", (model,))

    def drop_models(self, keep: str) -> int:
        """Delete the vectors of every model but ``keep``; return how many models went."""
        with self.database.transaction() as connection:
            others = [row[0] for row in connection.execute("SELECT id FROM models WHERE name <> ?", (keep,))]
            for model in others:
                connection.execute("DELETE FROM vectors WHERE model_id = ?", (model,))
                connection.execute("DELETE FROM models WHERE id = ?", (model,))
            return len(others)

    # Searching -------------------------------------------------------------------------------------------------

    def search_words(
        self, terms: Sequence[str], limit: int, kinds: Iterable[str] | None = None, *, private: bool = False
    ) -> list[Hit]:
        """Search the word index with terms made by ``memory.recall.text.query_terms``; best first, BM25 scores."""
        bits = kind_bits(kinds, private)
        with translated(self.database.path):
            quick = self._words.search(terms, limit, bits)
            return reads.search_words(self.database.connection, terms, limit, bits) if quick is None else quick

    def word_counts(self, terms: Sequence[str]) -> tuple[int, dict[str, int]] | None:
        """Return how many chunks there are and how many hold each term, where that is known without a search."""
        with translated(self.database.path):
            return self._words.counts(terms)

    def word_table(self, terms: Sequence[str], ids: Sequence[int]) -> WordTable | None:
        """Return the length of each chunk and how often it holds each term, where that is known without reading."""
        with translated(self.database.path):
            return self._words.table(terms, ids)

    def warm(self, model: str = "", *, worth_from: int = WORTH_FROM) -> None:
        """Read into memory what makes searches in a large store fast; seconds of work, for a background thread.

        Args:
            model: Whose vectors to read as well; none when empty.
            worth_from: Chunks from which on the word index is held in memory.
        """
        with translated(self.database.path):
            total = int(self.database.connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
            if total >= worth_from and self._words.stale:
                self._words.build()
            if model:
                len(self.matrix(model))

    def search_vectors(
        self, query: Vector, limit: int, kinds: Iterable[str] | None = None, *, model: str, private: bool = False
    ) -> list[Hit]:
        """Search by cosine over the vectors of ``model``, through the derived index where it is fit, else exactly."""
        bits = kind_bits(kinds, private)
        with translated(self.database.path):
            routed = self.vector_route(model, query, limit, bits) if self.vector_route is not None else None
            return self.matrix(model).search(query, limit, bits) if routed is None else routed

    def matrix(self, model: str) -> VectorMatrix:
        """Return the cached matrix of a model's vectors."""
        with self._guard:
            return self._matrices.setdefault(model, VectorMatrix(self.database, model))

    # Reading ---------------------------------------------------------------------------------------------------

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        """Return these chunks with their sources, in the order asked; ids that are gone are left out."""
        with translated(self.database.path):
            return reads.chunks(self.database.connection, ids)

    def neighbours(self, placement: Placement, n: int = 1) -> list[tuple[Placement, Chunk]]:
        """Return up to ``n`` chunks on each side of a placement in its document, in order, itself included."""
        with translated(self.database.path):
            return reads.neighbours(self.database.connection, placement, n)

    def document(self, kind: str, uri: str) -> Document | None:
        """Return one document of the manifest, or None."""
        with translated(self.database.path):
            found = reads.documents(self.database.connection, "kind = ? AND uri = ?", (kind, uri))
        return found[0] if found else None

    def documents(self, kinds: Iterable[str] | None = None) -> list[Document]:
        """Return the manifest, ordered by kind and name."""
        wanted = list(kinds) if kinds is not None else list(KIND_BITS)
        marks = ",".join("?" * len(wanted))
        with translated(self.database.path):
            return reads.documents(self.database.connection, f"kind IN ({marks})", tuple(wanted))

    def document_chunks(self, document_id: int) -> list[tuple[Placement, Chunk]]:
        """Return a document's chunks in order."""
        with translated(self.database.path):
            return reads.document_chunks(self.database.connection, document_id)

    def pending(self, model: str, limit: int, after: int = 0) -> list[Chunk]:
        """Return up to ``limit`` chunks beyond id ``after`` that have no vector of this model (without sources)."""
        with translated(self.database.path):
            return reads.pending(self.database.connection, model, limit, after)

    def count_vectors(self, model: str) -> int:
        """Count the stored vectors of a model."""
        with translated(self.database.path):
            return reads.count_vectors(self.database.connection, model)

    def count_pending(self, model: str) -> int:
        """Count the chunks that have no vector of this model yet."""
        with translated(self.database.path):
            return reads.count_pending(self.database.connection, model)

    def vectors(self, model: str) -> Iterator[tuple[int, Vector]]:
        """Iterate over all stored vectors of a model by chunk id, without holding them in memory."""
        yield from reads.vectors(self.database.connection, model)

    def dimension(self, model: str) -> int:
        """Return the dimension of a model's vectors; 0 where there are none."""
        row = self.database.connection.execute("SELECT dim FROM models WHERE name = ?", (model,)).fetchone()
        return int(row[0]) if row else 0

    def vectors_of(self, model: str, ids: Sequence[int]) -> dict[int, Vector]:
        """Return the stored vectors of these chunks, from memory if there; chunks without one are missing."""
        with translated(self.database.path):
            held = self._matrices.get(model)
            if held is not None and held.loaded:
                return held.vectors(ids)
            return reads.vectors_of(self.database.connection, model, ids)

    def vector_ids(self, model: str) -> list[int]:
        """Return the ids of all chunks that have a vector of this model."""
        with translated(self.database.path):
            return reads.vector_ids(self.database.connection, model)

    def sample_vectors(self, model: str, count: int) -> list[tuple[int, Vector]]:
        """Return some stored vectors, spread evenly over the ids."""
        ids = self.vector_ids(model)
        step = max(1, len(ids) // count) if count else 1
        return list(self.vectors_of(model, ids[::step][:count]).items())

    def stats(self) -> StoreStats:
        """Count what is stored."""
        with translated(self.database.path):
            return reads.stats(self.database.connection, self.database.path)

    def meta(self, key: str) -> str | None:
        """Return a recorded setting of the store, e.g. which embedding model it was last filled with."""
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Record a setting of the store."""
        with self.database.transaction() as connection:
            _set_meta(connection, key, value)

    def meta_keys(self, prefix: str) -> list[str]:
        """Return the names of recorded settings that begin with ``prefix``."""
        rows = self.database.connection.execute(
            "SELECT key FROM meta WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
        )
        return [str(row[0]) for row in rows]

    def delete_meta(self, key: str) -> None:
        """Forget a recorded setting."""
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def kind_bits(kinds: Iterable[str] | None, private: bool = False) -> int:
    """Return the mask that lets these kinds through; all of them for None."""
    wanted = KIND_BITS if kinds is None else kinds
    bits = PRIVATE_BIT if private else 0
    for kind in wanted:
        bits |= KIND_BITS[kind]
    return bits


def _set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
    )


__all__ = ["Source", "Store", "kind_bits"]
