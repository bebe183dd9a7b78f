"""The value a chunker makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as the chunker cuts it from one document; ``text == document[start:end]``."""

    text: str
    start: int
    end: int
    heading: tuple[str, ...] = ()
    line: int = 0
    """1-based line of ``start`` in the text; 0 where lines mean nothing."""
    page_start: int | None = None
    page_end: int | None = None
