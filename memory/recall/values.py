"""What recall takes and gives: frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memory.store import Hit

Vector = NDArray[np.float32]

KINDS = ("note", "lesson", "file", "url", "conversation")
"""Every kind of source, each of which a person can switch off."""


class QueryEmbedder(Protocol):
    """Questions to unit vectors, by the model whose vectors the store holds."""

    @property
    def name(self) -> str:
        """The name the vectors are stored under."""
        ...

    def encode_query(self, text: str) -> Vector:
        """Embed a question; shape ``(dim,)``, unit length."""
        ...


class VectorIndex(Protocol):
    """A faster way to the nearest vectors than looking at all of them."""

    def search(self, query: Vector, limit: int, bits: int) -> list[Hit] | None:
        """Hits by cosine, best first; None where exact search must answer."""
        ...


class Reranker(Protocol):
    """A cross-encoder, where one is given: reads question and passage together."""

    def score(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One number a text, higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """How a passage fared on each route; None where the route did not see it."""

    words: float | None
    """BM25 of the chunk by itself, as the word index ranks it."""
    meaning: float | None
    """Cosine between question and chunk."""
    around: float
    """BM25 over the chunk and, at lower weight, what stands next to it."""
    fused: float
    """What the order follows: both routes on one scale, 0..1 before small preferences."""
    relevance: float
    """Calibrated probability that the passage bears on the question, 0..1."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One quotation, fit to stand in a prompt."""

    number: int
    """1-based; what the answer cites."""
    kind: str
    title: str
    """Of the document, on one line and harmless."""
    uri: str
    """The document: a path, an address, a note's name, a conversation's id."""
    text: str
    """Quotable text: nothing invisible, no control tokens, no forged labels. The exact words are at the span."""
    start: int
    end: int
    """Characters of the document's text."""
    line: int
    page: int | None
    heading: tuple[str, ...]
    scores: Scores
    why: str
    """Why it was chosen, in a short phrase for the person."""
    chunk_ids: tuple[int, ...]
    """The stored chunks it is made of, the one that was hit first."""
    also: tuple[str, ...] = ()
    """Titles of other documents that hold the same text."""
    root: str = ""
    """The folder ``uri`` counts from, where it is not absolute."""
    neutralised: int = 0
    """Invisible characters removed and look-alikes of our own marks changed."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found for a message, and what the person should know about the search."""

    passages: tuple[Passage, ...] = ()
    notices: tuple[str, ...] = ()
    query: str = ""
    """What was searched for, context included."""
    seconds: float = 0.0
    considered: int = 0
    """Chunks that were weighed."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The numbers of recall, as measured by ``bench/recall.py``; see docs/memory.md for the figures."""

    pool: int = 100
    """Hits taken from each route."""
    words_share: float = 0.7
    """Weight of the word score in the fused score; the rest is meaning."""
    near: tuple[float, float] = (0.3, 0.1)
    """Weight of words in the chunks one and two places away, beside 1 for the chunk's own."""
    k1: float = 1.2
    b: float = 0.75
    fusion: str = "blend"
    """``blend`` of normalised scores, or ``rrf``: reciprocal ranks."""
    rrf_k: int = 60
    diversity: float = 0.1
    """How much likeness to what is already chosen costs."""
    duplicate_words: float = 0.85
    """Share of common words from which two chunks are one."""
    duplicate_cosine: float = 0.97
    recency: float = 0.005
    """The most that being new can add: enough to break a tie."""
    threshold: float = 0.35
    """Least relevance of the best passage where both routes answered; below it nothing is recalled."""
    threshold_words: float = 0.4
    """The same where words answered alone: they tell a question that belongs elsewhere less well."""
    floor: float = 0.5
    """Share of the threshold a further passage needs."""
    passages: int = 8
    """Most passages."""
    preferences: dict[str, float] = field(
        default_factory=lambda: {"note": 1.08, "lesson": 1.08, "file": 1.0, "url": 1.0, "conversation": 1.0}
    )
    """Factor by kind: what the person wrote down for fovea goes first where all else is equal."""


DEFAULT_TUNING = Tuning()
