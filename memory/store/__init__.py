"""The store: one SQLite file that holds the manifest, the chunks, their vectors and the word index."""

from __future__ import annotations

from memory.store.store import Store
from memory.store.values import (
    HEADING_SEPARATOR,
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

__all__ = [
    "HEADING_SEPARATOR",
    "Chunk",
    "Document",
    "DocumentInfo",
    "Hit",
    "Piece",
    "Placement",
    "PutResult",
    "Source",
    "Store",
    "StoreStats",
    "WordTable",
]
