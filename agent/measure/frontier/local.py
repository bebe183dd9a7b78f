"""An engine in this process: measurements need the tiers' Steppers themselves, not a pipe to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from backends.ladder import Ladder, Opener
from backends.stepper import Feed, Stepper
from backends.types import Event, ForkMap, LadderSpec, LadderStatus, Message, Request, TierSpec


class LocalEngine:
    """``backends.engine.Engine`` over a ladder of this process."""

    def __init__(self, opener: Opener, rss: Callable[[], int] = lambda: 0) -> None:
        """Nothing is loaded yet.

        Args:
            opener: Opens a tier.
            rss: Resident memory of this process, bytes.
        """
        self._opener, self._rss = opener, rss
        self._ladder: Ladder | None = None
        self.memory: dict[str, int] = {}
        """Tier to the bytes its weights, context and buffers really take."""

    @property
    def ladder(self) -> Ladder:
        """The loaded ladder."""
        if self._ladder is None:
            raise RuntimeError("nothing is loaded")
        return self._ladder

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Load all tiers, one after the other, and see what each of them takes."""
        self._ladder = Ladder(ladder, self._weighed)
        return self.status()

    def _weighed(self, tier: TierSpec, ladder: LadderSpec) -> Stepper:
        before = self._rss()
        stepper = self._opener(tier, ladder)
        # Weights are mapped, not read: one step touches all of them.
        seq = stepper.open()
        stepper.step([Feed(seq, (0,))])
        stepper.drop(seq)
        self.memory[tier.name] = max(self._rss() - before, 0)
        return stepper

    def status(self) -> LadderStatus:
        """The ladder."""
        return replace(self.ladder.status(), rss=self._rss())

    def run(self, request: Request) -> Iterator[Event]:
        """Write; the events come when the reply is complete."""
        events: list[Event] = []
        self.ladder.run(request, events.append)
        yield from events

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Read a reply at a tier."""
        return self.ladder.score(messages, reply, tier, against)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text."""
        return self.ladder.tokenize(text)

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens."""
        return self.ladder.count(messages)

    def cancel(self) -> None:
        """Stop the running request."""
        self.ladder.cancel()

    def close(self) -> None:
        """Free everything."""
        if self._ladder is not None:
            self._ladder.close()
            self._ladder = None
