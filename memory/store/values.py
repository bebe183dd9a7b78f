"""The values the store takes and gives: frozen, without behaviour beyond small conveniences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memory.chunking.values import Piece

HEADING_SEPARATOR = " › "
"""Joins a heading path where it is shown or stored as one string."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What is recorded about a document beside its text; every field has a harmless default."""

    title: str = ""
    content_hash: str = ""
    size: int = 0
    mtime_ns: int = 0
    format: str = ""
    mark: str = ""
    """What was done to the text before it was stored, e.g. a repaired encoding; empty when nothing was."""
    root: str = ""
    """The folder the person added, so that ``refresh`` knows what to walk again."""
    private: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """One row of the manifest."""

    id: int
    kind: str
    uri: str
    title: str
    content_hash: str
    size: int
    mtime_ns: int
    format: str
    status: str
    reason: str
    mark: str
    root: str
    private: bool
    added_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a chunk stands in one document; characters count from 0, lines and pages from 1."""

    id: int
    document_id: int
    chunk_id: int
    ordinal: int
    heading: tuple[str, ...]
    char_start: int
    char_end: int
    line_start: int
    page_start: int | None
    page_end: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """A placement together with its document."""

    placement: Placement
    document: Document


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored chunk with every place it stands; identical text under one heading is stored once."""

    id: int
    text: str
    context: str
    """Title and heading path as one line; embedded and indexed together with the text."""
    n_tokens: int
    sources: tuple[Source, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result: higher scores are better; scores of different routes are not comparable."""

    chunk_id: int
    score: float


@dataclass(frozen=True, slots=True)
class WordTable:
    """How often some chunks hold some terms; a row a chunk that exists, a column a term."""

    ids: list[int]
    lengths: NDArray[np.float32]
    """Terms in each chunk, title and headings included; shape ``(chunks,)``."""
    counts: NDArray[np.float32]
    """Shape ``(chunks, terms)``."""


@dataclass(frozen=True, slots=True)
class PutResult:
    """What one ``put`` changed."""

    document_id: int
    chunks: int
    new_chunks: int
    removed_chunks: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts over the whole store."""

    documents: dict[str, int]
    failed: int
    chunks: int
    placements: int
    tokens: int
    vectors: dict[str, int]
    """Vectors by model name."""
    bytes: int


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
    "StoreStats",
    "WordTable",
]
