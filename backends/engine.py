"""The port the agent talks to: a ladder of engines that turns requests into streams of events.

``backends.host.EngineHost`` is the real one (a child process); ``backends.scripted.ScriptedEngine`` plays scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from backends.types import Event, ForkMap, LadderSpec, LadderStatus, Message, Request


class Engine(Protocol):
    """A loaded ladder. One request runs at a time; calls may come from any thread and wait for their turn.

    A thread that asks in the middle of its own loop over ``run`` cannot wait: it gets ``EngineBusy``.
    """

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Load the tiers that fit; a tier that fails is dropped and named in the status.

        Raises:
            LoadError: no tier could be loaded.
            HostError: the engine host could not start.
        """

    def status(self) -> LadderStatus:
        """The ladder as it is loaded now. Raises HostError when nothing is loaded."""

    def run(self, request: Request) -> Iterator[Event]:
        """Write. The last event is always ``Done`` or ``Failed``; nothing is raised for a failing engine.

        When the engine host dies in the middle, it is restarted, a ``Notice`` says so, and the reply goes on from the
        tokens already given. Closing the iterator early cancels the request.
        """

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Read a finished reply (token ids) at ``tier``, teacher-forced; with ``against`` (a tier) KL is real."""

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text (special tokens in it stay text)."""

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens these messages need in the model's own template."""

    def cancel(self) -> None:
        """Stop the running request, also inside a prefill. Safe from any thread; does nothing when idle."""

    def close(self) -> None:
        """End the engine host and wait for it."""
