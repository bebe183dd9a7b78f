"""How near lessons are to a situation, and to each other.

Similarity is by words weighed by their rarity among the lessons; where an embedding model is loaded its cosine is
taken as well, and the better of the two counts. The method follows CIPHER (Gao et al., NeurIPS 2024): a readable
preference, recalled by the likeness of the situation.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memory.lessons.lesson import Lesson
from memory.recall.text import index_terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]
    """Texts to unit vectors, shape ``(len(texts), dim)``."""

SAME_SHARE = 0.75  # share of common words from which two rules are one
SAME_COSINE = 0.88
WORD_THRESHOLD = 0.28  # rarity-weighted share of the lesson's words that the situation repeats
COSINE_THRESHOLD = 0.42


@dataclass(frozen=True, slots=True)
class Recalled:
    """A lesson that fits a situation, and how well by each measure."""

    lesson: Lesson
    words: float
    """Rarity-weighted share of the lesson's words found in the situation, 0..1."""
    cosine: float | None
    """Likeness of meaning, -1..1; None without an embedding model."""


def fitting(situation: str, lessons: Sequence[Lesson], embed: Embed | None, limit: int) -> list[Recalled]:
    """The lessons that fit a situation, best first; none where none is near enough."""
    lessons = [lesson for lesson in lessons if index_terms(lesson.rule)]
    if not lessons:
        return []
    words = _word_scores(situation, lessons)
    cosines = _cosines(situation, lessons, embed)
    scored = [Recalled(*row) for row in zip(lessons, words, cosines, strict=True)]
    near = [one for one in scored if one.words >= WORD_THRESHOLD or (one.cosine or 0.0) >= COSINE_THRESHOLD]
    return sorted(near, key=_strength, reverse=True)[:limit]


def same_rule(lesson: Lesson, known: Sequence[Lesson], embed: Embed | None) -> Lesson | None:
    """The known lesson that says what this one says; None where it is new."""
    terms = set(index_terms(lesson.rule).split())
    for other in known:
        others = set(index_terms(other.rule).split())
        if others and len(terms & others) / len(terms | others) >= SAME_SHARE:
            return other
    if embed is None or not known:
        return None
    vectors = embed([lesson.rule, *(other.rule for other in known)])
    cosines = vectors[1:] @ vectors[0]
    best = int(cosines.argmax())
    # Meaning alone cannot tell "always" from "never": a rule of the opposite sign is another rule.
    opposed = _negated(lesson.rule) != _negated(known[best].rule)
    return known[best] if float(cosines[best]) >= SAME_COSINE and not opposed else None


def _cosines(situation: str, lessons: Sequence[Lesson], embed: Embed | None) -> list[float | None]:
    if embed is None:
        return [None] * len(lessons)
    vectors = embed([situation, *(lesson.as_text() for lesson in lessons)])
    return [float(value) for value in vectors[1:] @ vectors[0]]


def _word_scores(situation: str, lessons: Sequence[Lesson]) -> list[float]:
    """For each lesson, the better of two shares: of its situation's words and of its rule's words that come again."""
    asked = set(index_terms(situation).split())
    documents = [set(index_terms(lesson.as_text()).split()) for lesson in lessons]
    frequency = Counter(term for terms in documents for term in terms)

    def weight(term: str) -> float:
        return math.log(1 + (len(documents) + 1) / (frequency[term] + 0.5)) * (0.3 if len(term) < 3 else 1.0)

    def share(text: str) -> float:
        terms = set(index_terms(text).split()) - _EMPTY_TERMS
        total = sum(weight(term) for term in terms)
        return sum(weight(term) for term in terms & asked) / total if len(terms) > 1 and total else 0.0

    return [max(share(lesson.rule), share(lesson.when), share(lesson.because)) for lesson in lessons]


def _strength(one: Recalled) -> float:
    """Both measures on one scale: each divided by its own threshold, the better one counts."""
    return max(one.words / WORD_THRESHOLD, (one.cosine or 0.0) / COSINE_THRESHOLD)


def _negated(rule: str) -> bool:
    return bool(re.search(r"\b(?:not|never|no|don't|without|avoid|stop|не|никогда|нельзя|без)\b", rule, re.IGNORECASE))


_EMPTY_TERMS = frozenset(
    index_terms("do not don't never always again this that the a an to of in it is when you i").split()
)
