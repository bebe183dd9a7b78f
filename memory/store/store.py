"""The store as the rest of fovea sees it: what can be read and searched, and every change to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memory.chunking import chunk_text
from memory.store import writes
from memory.store.database import translated
from memory.store.reader import Vector
from memory.store.search import SearchableStore
from memory.store.values import Document, DocumentInfo, Piece, PutResult


class Store(SearchableStore):
    """Documents, chunks, vectors and the word index of one data folder; safe to share between threads.

    Takes the arguments of ``StoreReader``.
    """

    # Documents -------------------------------------------------------------------------------------------------

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

    # Vectors ---------------------------------------------------------------------------------------------------

    def put_vectors(self, model: str, vectors: Iterable[tuple[int, Vector]]) -> int:
        """Store vectors by chunk id under a model's name, normalised to unit length; return how many were stored.

        Chunks that have been removed meanwhile are passed over.
        """
        with self.database.transaction() as connection:
            return writes.put_vectors(connection, model, vectors)

    def drop_vectors(self, model: str) -> None:
        """Delete all vectors of a model, so that every chunk is embedded again."""
        with self.database.transaction() as connection:
            writes.drop_vectors(connection, model)

    def drop_models(self, keep: str) -> int:
        """Delete the vectors of every model but ``keep``; return how many models went."""
        with self.database.transaction() as connection:
            others = [str(row[0]) for row in connection.execute("SELECT name FROM models WHERE name <> ?", (keep,))]
            for model in others:
                writes.drop_model(connection, model)
            return len(others)

    # Settings --------------------------------------------------------------------------------------------------

    def set_meta(self, key: str, value: str) -> None:
        """Record a setting of the store."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def delete_meta(self, key: str) -> None:
        """Forget a recorded setting."""
        with self.database.transaction() as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
