"""An Engine over toy models in this process: the real ladder and the real decoders, no native code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.measure.frontier.local import LocalEngine
from backends.ladder import Ladder
from backends.types import Event, LadderSpec, LadderStatus, Request, TierSpec
from tests.backends.toy_stepper import ToyStepper

NOISE = {"4-bit": 0.15, "8-bit": 0.03, "16-bit": 0.0}


class ToyEngine(LocalEngine):
    """Tiers of one toy model that differ by ``noise``. Attributes: ``requests``, every request so far."""

    def __init__(self, noise: Mapping[str, float] = NOISE, *, folder: Path = Path("toy"), **options: object) -> None:
        super().__init__(self._open)
        self.requests: list[Request] = []
        self._options = {"vocab": 24, "spread": 1.2, "end_bias": -6.0, "seed": 5, **options}
        self._noise = dict(noise)
        self._spec = LadderSpec(tuple(TierSpec(name, folder / f"{name}.gguf") for name in noise), ctx=512)

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Whatever is asked for, the toy's own tiers."""
        return super().load(self._spec)

    def _open(self, tier: TierSpec, ladder: LadderSpec) -> ToyStepper:
        return ToyStepper(noise=self._noise[tier.name], ctx=ladder.ctx, tier_seed=9, **self._options)  # type: ignore[arg-type]  # options are the toy's own

    @property
    def ladder(self) -> Ladder:
        if self._ladder is None:
            self.load(self._spec)
        return super().ladder

    def run(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        yield from super().run(request)
