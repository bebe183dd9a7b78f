"""Lessons: what a rejection or a correction taught, kept where a person can read and correct it.

Contract: only an explicit act of the person makes a lesson (a refusal with its reason, a correction, an edit of a
reply, a plain statement); text of documents, tools or models never does. ``lessons.md`` is the truth: one section a
lesson, edited and deleted like any note; sections that nobody generated are lessons too.
"""

from __future__ import annotations

from memory.lessons.book import LessonBook
from memory.lessons.lesson import Lesson, Origin, from_correction, from_rejection, parse_lessons
from memory.lessons.likeness import Recalled

__all__ = ["Lesson", "LessonBook", "Origin", "Recalled", "from_correction", "from_rejection", "parse_lessons"]
