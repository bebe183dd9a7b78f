"""From blocks to chunks: the packing that every format shares.

A structure reader (markdown, plain text, code, tables) yields *blocks*: spans that belong together, with their heading
path. ``pack`` joins neighbouring blocks up to a target size, cuts a block that is larger than the maximum at the best
boundary inside it, keeps a heading with what follows it, and never ends a chunk inside a word. A chunk is always one
unbroken span of the text, so that a citation opens at exact characters.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from memory.chunking.values import Piece


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of chunks in characters.

    About 800 characters are 200 tokens of English, within the 256 that all-MiniLM-L6-v2 reads.
    """

    minimum: int = 240
    """A smaller chunk is joined with what follows, even under another heading, where both fit the target."""
    target: int = 800
    maximum: int = 1000


@dataclass(frozen=True, slots=True)
class Block:
    """A span of one kind under one heading path; ``kind`` is text, heading, code or table."""

    start: int
    end: int
    kind: str = "text"
    heading: tuple[str, ...] = ()
    header: str = ""
    """For a table: its column names, which every later part of it carries in its heading path."""


_SENTENCE = re.compile(r"[.!?…][\"'»”’)\]]*\s+|[。！？]+\s*")
_BOUNDARIES = {
    "text": (re.compile(r"\n[ \t\r]*\n\s*"), _SENTENCE, re.compile(r"\n"), re.compile(r"\s+"), re.compile(r"[、，；]")),
    "code": (re.compile(r"\n[ \t\r]*\n(?=\S)"), re.compile(r"\n[ \t\r]*\n"), re.compile(r"\n"), re.compile(r"\s+")),
    "table": (re.compile(r"\n"), re.compile(r"\s+")),
}
_BLANK = re.compile(r"\s+")
_LONGEST_WORD = 4000
"""How far to look for the end of a word before giving it up as one; longer runs are data, not words."""


def pack(text: str, blocks: Iterable[Block], limits: Limits = Limits()) -> list[Piece]:
    """Join and cut blocks into chunks.

    Args:
        text: The whole text the spans refer to.
        blocks: In order, without overlap.
        limits: Sizes in characters.
    """
    pieces: list[Piece] = []
    current: list[Block] = []
    for block in _sized(text, blocks, limits):
        if current and _closes(current, block, limits):
            current = _flush(text, current, pieces)
        current.append(block)
    while current:
        rest = _flush(text, current, pieces, final=True)
        current = rest if rest != current else []
    return with_lines(text, pieces)


def with_lines(text: str, pieces: list[Piece]) -> list[Piece]:
    """Give every piece the 1-based line its span starts on."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return [replace(piece, line=bisect_right(starts, piece.start)) for piece in pieces]


def _closes(current: list[Block], block: Block, limits: Limits) -> bool:
    """Whether the chunk so far ends before ``block``."""
    size = current[-1].end - current[0].start
    joined = block.end - current[0].start
    if all(held.kind == "heading" for held in current):
        return joined > 2 * limits.maximum  # a heading stays with what it announces
    if joined > limits.maximum:
        return True
    if block.heading != current[-1].heading and size >= limits.minimum:
        return True
    return joined > limits.target and size >= limits.minimum


def _flush(text: str, current: list[Block], pieces: list[Piece], *, final: bool = False) -> list[Block]:
    """Write the blocks as one piece; return the headings at their end, which belong to the next one."""
    cut = len(current)
    while not final and cut > 1 and current[cut - 1].kind == "heading":
        cut -= 1
    held, rest = current[:cut], current[cut:]
    start, end = _trimmed(text, held[0].start, held[-1].end, code=held[0].kind in ("code", "table"))
    if start < end:
        heading = _common([block.heading for block in held if block.kind != "heading"] or [held[0].heading])
        if held[0].header and held[0].start > 0 and not _holds_header(text, start, held[0].header):
            heading = (*heading, held[0].header)
        pieces.append(Piece(text[start:end], start, end, heading))
    return rest


def _holds_header(text: str, start: int, header: str) -> bool:
    """Whether a chunk of a table begins with the row of column names, which then need no repeating."""
    first = re.sub(r"\W+", "", header)[:40]
    return re.sub(r"\W+", "", text[start : start + 400]).startswith(first)


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The path of blocks joined into one chunk: the deepest where the others lead to it, else what they share."""
    deepest = max(paths, key=len)
    if all(deepest[: len(path)] == path for path in paths):
        return deepest
    for depth, name in enumerate(deepest):
        if any(len(path) <= depth or path[depth] != name for path in paths):
            return deepest[:depth]
    return deepest


def _trimmed(text: str, start: int, end: int, *, code: bool) -> tuple[int, int]:
    """Leave surrounding blanks out of a span; code keeps the indentation of its first line."""
    while end > start and text[end - 1].isspace():
        end -= 1
    first = start
    while first < end and text[first].isspace():
        first += 1
        if text[first - 1] == "\n":
            start = first
    return (start if code else first), end


def _sized(text: str, blocks: Iterable[Block], limits: Limits) -> Iterator[Block]:
    """Cut blocks that are larger than the maximum."""
    for block in blocks:
        start, part = block.start, block
        while block.end - start > limits.maximum:
            cut = _boundary(text, start, block.end, block.kind, limits)
            yield replace(part, start=start, end=cut)
            start = cut
            part = replace(block, heading=block.heading, header=block.header)
        if start < block.end:
            yield replace(part, start=start)


def _boundary(text: str, start: int, end: int, kind: str, limits: Limits) -> int:
    """Return the best place to cut after ``start``: the last strong boundary before the target, else a weaker one."""
    patterns = _BOUNDARIES.get(kind, _BOUNDARIES["text"])
    for window in (limits.target, limits.maximum):
        for pattern in patterns:
            cut = 0
            for match in pattern.finditer(text, start + limits.minimum, min(end, start + window)):
                cut = match.end()
            if cut > start:
                return cut
    blank = _BLANK.search(text, start + limits.maximum, min(end, start + _LONGEST_WORD))
    if blank:
        return blank.end()
    cut = min(start + limits.maximum, end)
    while cut < end and cut > start + limits.minimum and _inside_character(text, cut):
        cut -= 1
    return cut


def _inside_character(text: str, position: int) -> bool:
    """Whether a cut here would part a combining mark or a joined emoji from its base."""
    char = text[position]
    return bool(unicodedata.combining(char)) or char in "\u200d\ufe0f" or text[position - 1] == "\u200d"
