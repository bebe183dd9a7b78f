"""What the knowledge base takes and gives: settings, found passages, states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from memory.chroma_index import IndexState
from memory.embed import DEFAULT_MODEL
from memory.recall.values import Scores
from memory.store import Chunk, StoreStats


@dataclass(frozen=True, slots=True)
class KnowledgeSettings:
    """What a person may set; see docs/knowledge-base.md."""

    model: str = DEFAULT_MODEL
    """Embedding model: the default's name, a folder, a name in the Hugging Face cache, or ``none``."""
    index: str = "auto"
    """``auto``, ``exact``, ``chroma``, or the address of a Chroma server."""


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk and how it fared."""

    chunk: Chunk
    scores: Scores


@dataclass(slots=True)
class Waiting:
    """How a command behaves towards another process that changes the same knowledge base."""

    seconds: float | None = None
    """How long to wait; None for ever, 0 not at all."""
    told: Callable[[str], None] | None = None
    """Told once that, and for whom, we wait."""


@dataclass(slots=True)
class KnowledgeStatus:
    """Counts and states for ``kb stats``."""

    store: StoreStats
    model: str
    pending: int
    roots: list[str]
    index: IndexState
    folder: str
    notes: list[str] = field(default_factory=list)
