"""One lesson, and how it stands in ``lessons.md``.

A section is a lesson, its fields are list items::

    ## Ask before deleting files
    - when: cleaning up a folder
    - because: never delete without asking
    - from: rejection, 2026-11-23, seen 2 times
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from memory.recall.text import index_terms
from memory.safety import one_line

Origin = Literal["rejection", "correction", "edit", "statement"]

_SECTION = re.compile(r"^##[ \t]+(?P<rule>\S(?:.*\S)?)[ \t\r]*$", re.MULTILINE)
_FIELD = re.compile(r"^[-*][ \t]+(when|because|from)[ \t]*:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_FROM = re.compile(r"^(?P<origin>\w+)?(?:,\s*(?P<date>\d{4}-\d\d-\d\d))?(?:,\s*seen (?P<count>\d{1,9}) times)?")
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


def with_source(section: str, lesson: Lesson) -> str:
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
