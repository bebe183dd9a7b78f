"""Texts that stand, read by both tiers: forks where nobody chose the words.

Replies are what a gate meets; texts are what there is much of. A reply of a small model holds one or two forks, a page
of prose dozens. Weights are fitted on both, thresholds on replies alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.calibrate.collect import Progress
from agent.density.labels import Example, example_of_text
from agent.errors import SettingsError
from backends.engine import Engine
from backends.types import Message

ENDINGS = (".txt", ".md", ".rst")
_SHORTEST = 16
"""Tokens below which a passage says little."""
_FIRST_GROUP = 1_000_000
"""Numbers of documents, beyond those of prompts: what is resampled together must not mix."""
_ASKED = (Message("user", "Tell me about it."),)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text, read as if it were a reply."""

    text: str
    group: str
    """Passages of one document are never split between fitting and holding out."""


def passages(path: Path, longest: int = 1200) -> list[Passage]:
    """The paragraphs of a text file, of every text below a folder, or of JSON lines with ``text`` (or ``context``).

    Args:
        path: A folder, a text file, or a ``.jsonl`` file.
        longest: Characters of a passage.

    Raises:
        SettingsError: there is nothing to read.
    """
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())
            found = [piece for file in files for piece in _pieces(file.read_text("utf-8"), str(file), longest)]
        elif path.suffix == ".jsonl":
            found = _of_json(path, longest)
        else:
            found = _pieces(path.read_text("utf-8"), "", longest)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text: {error}") from error
    if not found:
        raise SettingsError(f"{path} holds no text ({', '.join(ENDINGS)} or .jsonl)")
    return found


def _of_json(path: Path, longest: int) -> list[Passage]:
    found: dict[str, Passage] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            raw = json.loads(line) if line.strip() else {}
            text = str(raw.get("text") or raw.get("context") or "")
        except (ValueError, AttributeError) as error:
            raise SettingsError(f"{path}, line {number}: not a JSON object") from error
        for piece in _pieces(text, str(raw.get("group", number)), longest) if text not in found else ():
            found.setdefault(piece.text, piece)
    return list(found.values())


def _pieces(text: str, group: str, longest: int) -> list[Passage]:
    """Paragraphs, neighbours joined while they are short. Without a group each passage is its own."""
    pieces: list[str] = []
    for paragraph in text.split("\n\n"):
        if pieces and len(pieces[-1]) + len(paragraph) < longest // 2:
            pieces[-1] += "\n\n" + paragraph
        elif paragraph.strip():
            pieces.append(paragraph)
    return [Passage(piece[:longest], group or piece[:80]) for piece in pieces]


def read_texts(
    engine: Engine,
    texts: Sequence[Passage],
    low: str,
    high: str,
    *,
    most: int = 0,
    progress: Progress = lambda share: None,
) -> list[Example]:
    """Read passages at both tiers, teacher-forced.

    Args:
        engine: With both tiers loaded.
        texts: What to read.
        low: The tier whose signals are wanted.
        high: The tier that judges.
        most: Stop after so many tokens (0: read everything).
        progress: Called with the share done.

    Raises:
        BackendError: the engine failed.
    """
    groups: dict[str, int] = {}
    found: list[Example] = []
    room = engine.status().ctx - engine.count(_ASKED) - 1
    tokens = 0
    for at, text in enumerate(texts):
        if most and tokens >= most:
            break
        progress(at / len(texts))
        reply = engine.tokenize(text.text)[:room]
        if len(reply) < _SHORTEST:
            continue
        group = groups.setdefault(text.group, len(groups))
        found.append(
            example_of_text(
                engine.score(_ASKED, reply, low), engine.score(_ASKED, reply, high, low), _FIRST_GROUP + group
            )
        )
        tokens += len(reply)
    progress(1.0)
    return found
