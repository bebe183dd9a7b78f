"""Lessons: what a rejection or a correction taught, kept where a person can read and correct it.

Contract: only an explicit act of the person makes a lesson (a refusal with its reason, a correction, an edit of a
reply, a plain statement); text of documents, tools or models never does. ``lessons.md`` is the truth: one section a
lesson, edited and deleted like any note; sections that nobody generated are lessons too.

    ## Ask before deleting files
    - when: cleaning up a folder
    - because: never delete without asking
    - from: rejection, 2026-11-23, seen 2 times

Similarity is by words weighed by their rarity among the lessons; where an embedding model is loaded its cosine is
taken as well, and the better of the two counts. The method follows CIPHER (Gao et al., NeurIPS 2024): a readable
preference, recalled by the likeness of the situation.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from memory.errors import NoteError, NoteNotFoundError
from memory.notes.folder import LESSONS_NAME
from memory.notes.note import Note
from memory.notes.proposal import Proposal, apply, propose_text
from memory.recall.text import index_terms
from memory.safety import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from memory.notes.folder import NotesFolder

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]
    """Texts to unit vectors, shape ``(len(texts), dim)``."""

Origin = Literal["rejection", "correction", "edit", "statement"]

SAME_SHARE = 0.75  # share of common words from which two rules are one
SAME_COSINE = 0.88
WORD_THRESHOLD = 0.28  # rarity-weighted share of the lesson's words that the situation repeats
COSINE_THRESHOLD = 0.42

_HEADER = "# Lessons\n\nWhat rejections and corrections taught. Edit or delete freely: this file is what counts.\n"
_SECTION = re.compile(r"^##[ \t]+(?P<rule>\S.*?)[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"^[-*][ \t]+(when|because|from)[ \t]*:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_FROM = re.compile(r"^(?P<origin>\w+)?(?:,\s*(?P<date>\d{4}-\d\d-\d\d))?(?:,\s*seen (?P<count>\d+) times)?")
_ORIGINS: tuple[Origin, ...] = ("rejection", "correction", "edit", "statement")


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson as the file has it."""

    rule: str
    """What to do or not to do, in one line."""
    when: str = ""
    """The situation it came from."""
    because: str = ""
    """What the person said."""
    origin: Origin = "statement"
    date: str = ""
    """ISO date it was last taught; empty where the person wrote it by hand."""
    count: int = 1
    """How many times it was taught."""
    start: int = 0
    end: int = 0
    """Characters of its section in the file."""

    @property
    def key(self) -> str:
        """A short name made from the rule's words; the same for the same rule."""
        return hashlib.sha256(index_terms(self.rule).encode()).hexdigest()[:12]

    def as_text(self) -> str:
        """The lesson as it is indexed and shown to a model: rule, situation, reason."""
        parts = [self.rule]
        if self.when:
            parts.append(f"When: {self.when}")
        if self.because:
            parts.append(f"Because: {self.because}")
        return "\n".join(parts)

    def as_section(self) -> str:
        """The lesson as its section of ``lessons.md``."""
        lines = [f"## {self.rule}"]
        if self.when:
            lines.append(f"- when: {self.when}")
        if self.because:
            lines.append(f"- because: {self.because}")
        seen = f", seen {self.count} times" if self.count > 1 else ""
        lines.append(f"- from: {self.origin}{f', {self.date}' if self.date else ''}{seen}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Recalled:
    """A lesson that fits a situation, and how well by each measure."""

    lesson: Lesson
    words: float
    """Rarity-weighted share of the lesson's words found in the situation, 0..1."""
    cosine: float | None
    """Likeness of meaning, -1..1; None without an embedding model."""


def from_rejection(action: str, reason: str = "") -> Lesson:
    """The lesson of a refusal: the person's reason is the rule; without one the refused action is.

    Args:
        action: what was refused, as it was shown to the person. Foreign text: it is only ever quoted.
        reason: what the person typed.
    """
    shown = one_line(action, 160)
    rule = one_line(reason, 200) or f"Do not do this again: {shown}"
    return Lesson(rule, when=shown, because=one_line(reason, 200) or "you refused it", origin="rejection")


def from_correction(before: str, after: str, remark: str = "") -> Lesson:
    """The lesson of a correction or an edited reply: what stood there, and what the person put in its place."""
    rule = one_line(remark, 200) or f"Write “{one_line(after, 90)}”, not “{one_line(before, 90)}”"
    return Lesson(rule, when=one_line(before, 160), because=one_line(remark, 200), origin="correction")


def parse_lessons(text: str) -> tuple[Lesson, ...]:
    """Read the sections of ``lessons.md``; what stands before the first one is introduction."""
    matches = list(_SECTION.finditer(text))
    lessons = []
    for number, match in enumerate(matches):
        end = matches[number + 1].start() if number + 1 < len(matches) else len(text)
        fields = {key.lower(): value.strip() for key, value in _FIELD.findall(text[match.end() : end])}
        source = _FROM.match(fields.get("from", ""))
        origin: Origin = next((name for name in _ORIGINS if source and source["origin"] == name), "statement")
        lessons.append(
            Lesson(
                rule=match["rule"],
                when=fields.get("when", ""),
                because=fields.get("because", "") or _free_text(text[match.end() : end]),
                origin=origin,
                date=(source["date"] or "") if source else "",
                count=int(source["count"] or 1) if source else 1,
                start=match.start(),
                end=end,
            )
        )
    return tuple({lesson.key: lesson for lesson in lessons}.values())


class LessonBook:
    """The lessons of a notes folder.

    Args:
        folder: where ``lessons.md`` lies.
        embed: texts to unit vectors, where a model is loaded.
        today: the date, as ISO text; given by tests.
    """

    def __init__(self, folder: NotesFolder, embed: Embed | None = None, today: Callable[[], str] | None = None) -> None:
        self._folder = folder
        self._embed = embed
        self._today = today or (lambda: datetime.datetime.now(tz=datetime.UTC).date().isoformat())

    def lessons(self) -> tuple[Lesson, ...]:
        """Every lesson, in the file's order.

        Raises:
            NoteError: the file cannot be read.
        """
        note = self._note()
        return parse_lessons(note.text) if note else ()

    def propose(self, lesson: Lesson) -> Proposal:
        """The change that would teach a lesson: a new section, or one more count on the same rule.

        Raises:
            NoteError: the rule is empty, or the file cannot be read.
        """
        if not index_terms(lesson.rule):
            raise NoteError("A lesson needs a rule in words; say what to do differently.")
        note = self._note()
        text = note.text if note else _HEADER
        known = parse_lessons(text)
        same = self._same(lesson, known)
        if same is None:
            section = replace(lesson, date=self._today()).as_section()
            new_text = text.rstrip("\n") + "\n\n" + section
            return propose_text(self._folder, LESSONS_NAME, new_text, "A new lesson.")
        again = replace(same, count=same.count + 1, date=self._today())
        section = text[same.start : same.end]
        new_text = text[: same.start] + _with_source(section, again) + text[same.end :]
        return propose_text(self._folder, LESSONS_NAME, new_text, f"You taught this before: {same.rule}")

    def learn(self, lesson: Lesson) -> Proposal:
        """Propose and write at once, where the settings allow lessons without asking."""
        proposal = self.propose(lesson)
        apply(self._folder, proposal)
        return proposal

    def forget(self, key: str) -> bool:
        """Remove one lesson's section; return whether it was there."""
        note = self._note()
        found = next((lesson for lesson in parse_lessons(note.text) if lesson.key == key), None) if note else None
        if note is None or found is None:
            return False
        text = note.text[: found.start] + note.text[found.end :]
        self._folder.write(LESSONS_NAME, text, note.digest)
        return True

    def similar(self, situation: str, limit: int = 3) -> list[Recalled]:
        """The lessons that fit a situation, best first; none where none is near enough.

        Args:
            situation: what is about to be done or answered.
            limit: most lessons returned; few and short ones help a small model more than many.
        """
        lessons = [lesson for lesson in self.lessons() if index_terms(lesson.rule)]
        if not lessons:
            return []
        words = _word_scores(situation, lessons)
        cosines = self._cosines(situation, lessons)
        scored = [Recalled(*row) for row in zip(lessons, words, cosines, strict=True)]
        near = [one for one in scored if one.words >= WORD_THRESHOLD or (one.cosine or 0.0) >= COSINE_THRESHOLD]
        return sorted(near, key=_strength, reverse=True)[:limit]

    def _note(self) -> Note | None:
        try:
            return self._folder.read(LESSONS_NAME)
        except NoteNotFoundError:
            return None

    def _same(self, lesson: Lesson, known: Sequence[Lesson]) -> Lesson | None:
        terms = set(index_terms(lesson.rule).split())
        for other in known:
            others = set(index_terms(other.rule).split())
            if others and len(terms & others) / len(terms | others) >= SAME_SHARE:
                return other
        if self._embed is None or not known:
            return None
        vectors = self._embed([lesson.rule, *(other.rule for other in known)])
        cosines = vectors[1:] @ vectors[0]
        best = int(cosines.argmax())
        # Meaning alone cannot tell "always" from "never": a rule of the opposite sign is another rule.
        opposed = _negated(lesson.rule) != _negated(known[best].rule)
        return known[best] if float(cosines[best]) >= SAME_COSINE and not opposed else None

    def _cosines(self, situation: str, lessons: Sequence[Lesson]) -> list[float | None]:
        if self._embed is None:
            return [None] * len(lessons)
        vectors = self._embed([situation, *(lesson.as_text() for lesson in lessons)])
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


def _with_source(section: str, lesson: Lesson) -> str:
    """The section with its ``from`` line renewed; everything the person wrote there stays."""
    line = lesson.as_section().rstrip("\n").rsplit("\n", 1)[1]
    match = next((found for found in _FIELD.finditer(section) if found[1].lower() == "from"), None)
    if match:
        return section[: match.start()] + line + section[match.end() :]
    body = section.rstrip("\n")
    return f"{body}\n{line}{section[len(body) :] or chr(10)}"


def _free_text(section: str) -> str:
    """What a person wrote under a heading without our keys."""
    lines = [line.strip() for line in section.split("\n") if line.strip() and not _FIELD.match(line)]
    return " ".join(lines)[:300]


_EMPTY_TERMS = frozenset(
    index_terms("do not don't never always again this that the a an to of in it is when you i").split()
)
