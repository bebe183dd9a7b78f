"""Past conversations as the memory may know them: which there are, and what was said in one.

What is handed over is what the person would read on opening the conversation: the path to its head. Deleted and private
conversations are not handed over, and what stood in a summary is there as the messages themselves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from agent.tree import Tree
from agent.values import SessionInfo, Status

SPEAKERS = {"user": "You", "assistant": "fovea"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, ready to be remembered."""

    id: str
    title: str
    """With its date, so that a question about a day finds it. Foreign text."""
    updated: float
    """Unix time, seconds, of its last message."""
    turns: tuple[tuple[str, str], ...]
    """Who said it and what, in order."""


class PastConversations:
    """The conversations of a tree that may be recalled."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def known(self) -> dict[str, float]:
        """The conversations that may be recalled, by id, with the Unix time of their last change."""
        return self._tree.shelf.recallable()

    def any(self) -> bool:
        """Whether there is any."""
        return bool(self.known())

    def begun_with(self, text: str) -> set[str]:
        """Those that begin with this very message."""
        return self._tree.shelf.begun_with(text)

    def read(self, id: str) -> Conversation | None:
        """One of them; ``None`` where it was deleted, is private, or holds nothing yet."""
        info = self._tree.shelf.info(id)
        if info is None or info.private:
            return None
        nodes = self._tree.path(self._tree.shelf.head(id), steps=False)
        turns = tuple(
            (SPEAKERS[node.role], node.text)
            for node in nodes
            if node.role in SPEAKERS and node.status in (Status.DONE, Status.STOPPED) and node.text.strip()
        )
        return Conversation(id, _dated(info), info.updated, turns) if turns else None


def _dated(info: SessionInfo) -> str:
    day = time.strftime("%-d %B %Y" if time.strftime("%-d").isdigit() else "%d %B %Y", time.localtime(info.updated))
    return f"{info.title or 'Conversation'} (conversation of {day})"
