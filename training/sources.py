"""Reading the corpus, and holding documents out before anything else looks at it.

Documents differ by kind. Question answering comes as paragraphs of titled articles: the title (or the paragraph
itself) is the document. Prose comes as consecutive rows of books without an identifier: the last rows of each source
are held out as one block, with a gap as wide as a long book dropped before it, so that no book lies on both sides.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Row = dict[str, Any]
Part = Literal["train", "held-out"]

HELD_OUT_SHARE = 0.02
GAP_SHARE = 0.02
FILES = {
    "prose_en": "prose_en.jsonl.xz",
    "prose_ru": "prose_ru.jsonl.xz",
    "qa_en": "qa_en.jsonl.xz",
    "qa_ru": "qa_ru.jsonl.xz",
    "dialog_en": "dialog_en.jsonl.xz",
}


class CorpusError(Exception):
    """The corpus is not where it was said to be, or is not what it should be."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of an xz-compressed JSON-lines file.

    Raises:
        CorpusError: the file is missing.
    """
    if not path.is_file():
        raise CorpusError(f"{path} does not exist; give the folder of the corpus with --corpus")
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def paragraph_key(text: str) -> str:
    """A key equal for the same paragraph whatever its spacing."""
    return " ".join(text.split())[:120].casefold()


def document_of(row: Row) -> str:
    """The document a question belongs to: its article, else its paragraph, else the question itself."""
    title = row.get("title")
    if title:
        return f"title:{title}"
    return "text:" + (paragraph_key(row.get("context") or "") or paragraph_key(row["question"]))


def is_held_out(document: str) -> bool:
    """Whether a document is held out: a fixed function of its name, so that every run and every file agree."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT_SHARE


@dataclass(frozen=True, slots=True)
class Split:
    """Rows for training and rows that no training run sees."""

    train: list[Row]
    held_out: list[Row]


def split_questions(rows: Iterable[Row]) -> Split:
    """Split question rows by document."""
    split = Split([], [])
    for row in rows:
        (split.held_out if is_held_out(document_of(row)) else split.train).append(row)
    return split


def split_prose(rows: Iterable[Row], barred: frozenset[str] = frozenset()) -> Split:
    """Split prose rows: the last rows of each source are held out, the rows just before them belong to neither part.

    Args:
        rows: prose in file order.
        barred: keys of paragraphs held out elsewhere (``paragraph_key``); a row that holds one is dropped.
    """
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    split = Split([], [])
    for group in by_source.values():
        held = max(1, round(len(group) * HELD_OUT_SHARE))
        end = len(group) - held - max(1, round(len(group) * GAP_SHARE))
        split.held_out.extend(group[len(group) - held :])
        split.train.extend(row for row in group[: max(0, end)] if not holds_any(row["text"], barred))
    return split


def holds_any(text: str, barred: frozenset[str]) -> bool:
    """Whether any paragraph of ``text`` is barred."""
    return bool(barred) and any(paragraph_key(paragraph) in barred for paragraph in text.split("\n"))


def held_out_paragraphs(questions: Split) -> frozenset[str]:
    """Keys of all paragraphs in the held-out part of question rows."""
    return frozenset(paragraph_key(row["context"]) for row in questions.held_out if row.get("context"))


# Chats about anything and short answers with some manner; task dialogues and canned lines of mixed quality stay out.
DIALOGUE_SOURCES = ("self-dialogue", "personality-chat", "chatlearner-papaya")


def split_dialogues(rows: Iterable[Row]) -> list[list[str]]:
    """The training part of the dialogues as lists of turns; held out by the hash of their first turns."""
    return [
        row["turns"]
        for row in rows
        if row["source"] in DIALOGUE_SOURCES and not is_held_out("dialogue:" + "\n".join(row["turns"][:2]))
    ]
