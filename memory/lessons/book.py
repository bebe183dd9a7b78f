"""The lessons of a notes folder: read, taught, forgotten, and recalled by a situation."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from memory.errors import NoteError, NoteNotFoundError
from memory.lessons.lesson import Lesson, parse_lessons, with_source
from memory.lessons.likeness import Recalled, fitting, same_rule
from memory.notes.folder import LESSONS_NAME
from memory.notes.proposal import Proposal, apply, propose_text
from memory.recall.text import index_terms

if TYPE_CHECKING:
    from memory.lessons.likeness import Embed
    from memory.notes.folder import NotesFolder
    from memory.notes.note import Note

_HEADER = "# Lessons\n\nWhat rejections and corrections taught. Edit or delete freely: this file is what counts.\n"


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
        same = same_rule(lesson, known, self._embed)
        if same is None:
            section = replace(lesson, date=self._today()).as_section()
            new_text = text.rstrip("\n") + "\n\n" + section
            return propose_text(self._folder, LESSONS_NAME, new_text, "A new lesson.")
        again = replace(same, count=same.count + 1, date=self._today())
        section = text[same.start : same.end]
        new_text = text[: same.start] + with_source(section, again) + text[same.end :]
        return propose_text(self._folder, LESSONS_NAME, new_text, f"You taught this before: {same.rule}")

    def learn(self, lesson: Lesson) -> Proposal:
        """Propose and write at once, where the settings allow lessons without asking."""
        proposal = self.propose(lesson)
        apply(self._folder, proposal)
        return proposal

    def forget(self, key: str) -> bool:
        """Remove one lesson, every section that says it; return whether it was there."""
        note = self._note()
        text = note.text if note else ""
        while found := next((lesson for lesson in parse_lessons(text) if lesson.key == key), None):
            text = text[: found.start] + text[found.end :]
        if note is None or text == note.text:
            return False
        self._folder.write(LESSONS_NAME, text, note.digest)
        return True

    def similar(self, situation: str, limit: int = 3) -> list[Recalled]:
        """The lessons that fit a situation, best first; none where none is near enough.

        Args:
            situation: what is about to be done or answered.
            limit: most lessons returned; few and short ones help a small model more than many.
        """
        return fitting(situation, self.lessons(), self._embed, limit)

    def _note(self) -> Note | None:
        try:
            return self._folder.read(LESSONS_NAME)
        except NoteNotFoundError:
            return None
