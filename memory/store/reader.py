"""What can be read off a store without searching: the manifest, chunks where they stand, vectors, counts, settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory.store import reads
from memory.store.database import Database, translated
from memory.store.matrix import data_version
from memory.store.schema import KIND_BITS
from memory.store.values import Chunk, Document, Placement, StoreStats

Vector = NDArray[np.float32]


class StoreReader:
    """The reading side of one data folder's store; safe to share between threads.

    Args:
        folder: The data folder; ``memory.db`` lies in it.
        read_only: Refuse every write.

    Raises:
        StoreError: The file cannot be opened; the subclass says why.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.database = Database(folder, read_only=read_only)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.database.folder

    @property
    def version(self) -> int:
        """A number that grows with every change of chunks, vectors or privacy."""
        with translated(self.database.path):
            return data_version(self.database.connection)

    @property
    def revision(self) -> tuple[int, int]:
        """Something that differs, in the calling thread, after any change of the file by anybody; cheap."""
        with translated(self.database.path):
            connection = self.database.connection
            return int(connection.execute("PRAGMA data_version").fetchone()[0]), connection.total_changes

    # Documents and chunks --------------------------------------------------------------------------------------

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

    def single_files(self) -> list[Document]:
        """Return the files that were added by themselves, not with a folder."""
        with translated(self.database.path):
            return reads.documents(self.database.connection, "kind = 'file' AND root = ''", ())

    def document_chunks(self, document_id: int) -> list[tuple[Placement, Chunk]]:
        """Return a document's chunks in order."""
        with translated(self.database.path):
            return reads.document_chunks(self.database.connection, document_id)

    def stats(self) -> StoreStats:
        """Count what is stored."""
        with translated(self.database.path):
            return reads.stats(self.database.connection, self.database.path)

    # Vectors ---------------------------------------------------------------------------------------------------

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
        with translated(self.database.path):
            row = self.database.connection.execute("SELECT dim FROM models WHERE name = ?", (model,)).fetchone()
        return int(row[0]) if row else 0

    def vectors_of(self, model: str, ids: Sequence[int]) -> dict[int, Vector]:
        """Return the stored vectors of these chunks; chunks without one are missing."""
        with translated(self.database.path):
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

    # Settings --------------------------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """Return a recorded setting of the store, e.g. which embedding model it was last filled with."""
        with translated(self.database.path):
            row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def meta_keys(self, prefix: str) -> list[str]:
        """Return the names of recorded settings that begin with ``prefix``."""
        with translated(self.database.path):
            rows = self.database.connection.execute(
                "SELECT key FROM meta WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
            ).fetchall()
        return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
