"""Recall as the agent sees it: a port, a memory that remembers nothing, and recall beside the prefill.

The adapter over the memory room is ``agent.local_memory``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.values import Passage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoteProposal:
    """A change to the notes that a person may accept; nothing was written yet."""

    file: str
    diff: str
    """Unified diff of the file."""
    token: object = None
    """What the memory needs to apply it; opaque to everyone else."""


@dataclass(frozen=True, slots=True)
class Around:
    """A stretch of a document around a passage. Foreign text."""

    text: str
    start: int
    """The passage is ``text[start:end]``."""
    end: int


class Memory(Protocol):
    """What the agent asks of a memory. Calls may come from any thread."""

    def recall(
        self, query: str, history: Sequence[str], budget_tokens: int, deadline_s: float, session: str = ""
    ) -> tuple[list[Passage], list[str]]:
        """Passages for a message, best first, and lines for the person (an index is missing, time ran out).

        ``session`` is the conversation it belongs to, which is not recalled into itself.
        """

    def around(self, passage: Passage) -> Around | None:
        """What stands around a passage in its document, as it is now; ``None`` where it is there no more."""

    def standing_notes(self, budget_tokens: int) -> str:
        """Notes that belong into every prompt."""

    def propose_note(self, text: str) -> NoteProposal | None:
        """How the notes would change to hold ``text``; ``None`` when this memory keeps none or holds it already."""

    def accept_note(self, proposal: NoteProposal) -> str:
        """Write a proposal; returns the name of the file."""

    def conversation_changed(self, session: str) -> None:
        """A conversation was written in, renamed, deleted, brought back or marked private; returns at once."""

    def ready(self) -> None:
        """Open what the first recall needs; called in a thread of its own while the engine loads."""

    def start(self) -> None:
        """Prepare in the background what makes recall better; for programs that live longer than one message."""

    def close(self) -> None:
        """Give back files and models."""


class NullMemory:
    """Remembers nothing."""

    def recall(
        self, query: str, history: Sequence[str], budget_tokens: int, deadline_s: float, session: str = ""
    ) -> tuple[list[Passage], list[str]]:
        """Nothing."""
        return [], []

    def around(self, passage: Passage) -> Around | None:
        """Nothing."""
        return None

    def standing_notes(self, budget_tokens: int) -> str:
        """Nothing."""
        return ""

    def propose_note(self, text: str) -> NoteProposal | None:
        """Nothing."""
        return None

    def accept_note(self, proposal: NoteProposal) -> str:
        """Nothing."""
        return ""

    def conversation_changed(self, session: str) -> None:
        """Nothing to remember."""

    def ready(self) -> None:
        """Nothing to open."""

    def start(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to give back."""


class Recalling:
    """One recall under way in a thread of its own, while the engine reads the prompt so far."""

    def __init__(
        self, memory: Memory, query: str, history: Sequence[str], budget: int, deadline_s: float, session: str = ""
    ) -> None:
        self._result: tuple[list[Passage], list[str]] = ([], [])
        self._finished = threading.Event()
        self._deadline_s = deadline_s
        self._work = (memory, query, tuple(history), budget, session)
        # A daemon: a recall that hangs (a slow disk, a lock) must not keep the program from ending.
        threading.Thread(target=self._run, name="recall", daemon=True).start()

    def _run(self) -> None:
        memory, query, history, budget, session = self._work
        try:
            self._result = memory.recall(query, history, budget, self._deadline_s, session)
        except Exception as error:  # a broken memory must never cost the person the reply
            log.exception("recall failed")
            self._result = [], [f"Nothing was recalled: {error}"]
        finally:
            self._finished.set()

    def done_within(self, seconds: float) -> bool:
        """Whether it ends within this time."""
        return self._finished.wait(seconds)

    def result(self, already_s: float = 0.0) -> tuple[list[Passage], list[str]]:
        """Wait for the rest of the deadline; ``already_s`` seconds of it are over."""
        if self._finished.wait(max(self._deadline_s - already_s, 0.0)):
            return self._result
        return [], [f"Nothing was recalled in {self._deadline_s:g} s; the reply starts without"]
