"""An Engine over toy models in this process: the real ladder and the real decoders, no native code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backends.ladder import Ladder
from backends.types import Event, ForkMap, LadderSpec, LadderStatus, Message, Request, TierSpec
from tests.backends.toy_stepper import ToyStepper

NOISE = {"4-bit": 0.15, "8-bit": 0.03, "16-bit": 0.0}


class ToyEngine:
    """Tiers of one toy model that differ by ``noise``. Attributes: ``requests``, every request so far."""

    def __init__(self, noise: Mapping[str, float] = NOISE, *, folder: Path = Path("toy"), **options: object) -> None:
        self.requests: list[Request] = []
        self._options = {"vocab": 24, "spread": 1.2, "end_bias": -6.0, "seed": 5, **options}
        self._noise = dict(noise)
        self._spec = LadderSpec(tuple(TierSpec(name, folder / f"{name}.gguf") for name in noise), ctx=512)
        self._ladder: Ladder | None = None

    def load(self, ladder: LadderSpec) -> LadderStatus:
        self._ladder = Ladder(self._spec, self._open)
        return self.status()

    def _open(self, tier: TierSpec, ladder: LadderSpec) -> ToyStepper:
        return ToyStepper(noise=self._noise[tier.name], ctx=ladder.ctx, tier_seed=9, **self._options)  # type: ignore[arg-type]  # options are the toy's own

    @property
    def ladder(self) -> Ladder:
        if self._ladder is None:
            self.load(self._spec)
        assert self._ladder is not None
        return self._ladder

    def status(self) -> LadderStatus:
        return self.ladder.status()

    def run(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        events: list[Event] = []
        self.ladder.run(request, events.append)
        yield from events

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        return self.ladder.score(messages, reply, tier, against)

    def tokenize(self, text: str) -> list[int]:
        return self.ladder.tokenize(text)

    def count(self, messages: Sequence[Message]) -> int:
        return self.ladder.count(messages)

    def cancel(self) -> None:
        self.ladder.cancel()

    def close(self) -> None:
        if self._ladder is not None:
            self._ladder.close()
            self._ladder = None
