"""Earlier prompts, kept in a plain file so that they survive the app; one JSON string a line."""

from __future__ import annotations

import json
from pathlib import Path

from agent.errors import AgentError
from agent.paths import write_atomically

KEPT = 500


class History:
    """A list of prompts with a cursor. Moving past the newest gives back the unsent draft."""

    def __init__(self, path: Path | None) -> None:
        """Read the file; anything unreadable in it is skipped.

        Args:
            path: ``None`` keeps the history in memory only.
        """
        self._path = path
        self._lines = _read(path) if path else []
        self._at = len(self._lines)
        self._draft = ""

    def add(self, text: str) -> None:
        """Remember a sent prompt; a repetition of the last one is not kept twice."""
        if text.strip() and self._lines[-1:] != [text]:
            self._lines = [*self._lines, text][-KEPT:]
            self._save()
        self._at = len(self._lines)

    def back(self, draft: str) -> str | None:
        """The prompt before the current one, or ``None`` at the oldest."""
        if self._at == 0:
            return None
        if self._at == len(self._lines):
            self._draft = draft
        self._at -= 1
        return self._lines[self._at]

    def forward(self) -> str | None:
        """The prompt after the current one, at the end the unsent draft; ``None`` when already there."""
        if self._at >= len(self._lines):
            return None
        self._at += 1
        return self._draft if self._at == len(self._lines) else self._lines[self._at]

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write_atomically(self._path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines))
        except AgentError:  # a read-only folder costs the history of prompts, never the conversation
            self._path = None


def _read(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found: list[str] = []
    for line in text.split("\n"):  # not at the other line ends of Unicode: JSON leaves those in a string
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, str):
            found.append(value)
    return found[-KEPT:]
