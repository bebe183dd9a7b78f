"""What a reader gives and within which bounds it works."""

from __future__ import annotations

from dataclasses import dataclass, field

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds on one document; beyond any of them it is reported and left out, and the others go on."""

    file_bytes: int = 256 * MEGABYTE
    """Size of the file itself."""
    text_bytes: int = 64 * MEGABYTE
    """Size of a file that is read as text, and of the text taken from any document."""
    line_chars: int = 8 * MEGABYTE
    """Length of one line of text; longer ones are data in disguise."""
    seconds: float = 120.0
    """Wall time in the child process."""
    memory_bytes: int = 2048 * MEGABYTE
    """Resident memory of the child process."""
    archive_members: int = 10_000
    archive_bytes: int = 512 * MEGABYTE
    """Size of all members together once expanded."""
    archive_ratio: int = 200
    """Expansion of a member larger than a megabyte."""
    pages: int = 20_000


DEFAULT_LIMITS = ReadLimits()


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document, ready to be cut."""

    text: str
    format: str
    """How its structure is read: ``markdown``, ``text``, ``csv``, or a language's name."""
    title: str = ""
    """The document's own title; empty where it has none (a file's name is not its title)."""
    pages: tuple[int, ...] = field(default=())
    """Start of each page (or slide) in the text; empty where there are no pages."""
    marks: tuple[str, ...] = field(default=())
    """What was done to the text that a reader of a citation should know."""
