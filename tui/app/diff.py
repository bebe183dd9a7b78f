"""Word diff of two replies: what one precision said and the other did not.

Words, not characters: a fork changes meaning word by word. Uses difflib's matching blocks over words with the white
space kept on the word before, so that the pieces joined give back both texts exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"\S+\s*|\s+")
MAX_WORDS = 4000
"""Beyond this the rest is shown as one replaced piece: matching is quadratic in the worst case."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words: ``left == right`` where both texts agree (up to white space)."""

    left: str
    right: str
    same: bool


def words(text: str) -> list[str]:
    """The words of a text, each with the white space after it."""
    return _WORDS.findall(text)


def compare(left: str, right: str) -> list[Piece]:
    """The two texts cut into agreeing and differing pieces, in order."""
    a, b = words(left), words(right)
    rest = Piece("".join(a[MAX_WORDS:]), "".join(b[MAX_WORDS:]), same=False)
    a, b = a[:MAX_WORDS], b[:MAX_WORDS]
    matcher = SequenceMatcher(None, [w.strip() for w in a], [w.strip() for w in b], autojunk=False)
    pieces = [Piece("".join(a[i:j]), "".join(b[k:m]), same=tag == "equal") for tag, i, j, k, m in matcher.get_opcodes()]
    return [*pieces, rest] if rest.left or rest.right else pieces


def changed(pieces: list[Piece]) -> int:
    """How many words differ, counted on the longer side of each difference."""
    return sum(max(len(words(p.left)), len(words(p.right))) for p in pieces if not p.same)
