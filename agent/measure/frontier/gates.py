"""Gates to compare with: one that fires by chance, one that knows the high tier's mind, one that keeps its own cache.

They need nothing of the engine but its gated decoder: the decoder asks the writer's tracker for a density, and these
trackers answer otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from time import perf_counter
from typing import TypeVar

from agent.measure.frontier.policies import Policy
from backends.decoders.gated import gated
from backends.decoders.pair import Pair
from backends.decoders.writer import Counts, Job, Writer
from backends.gate import Tracker
from backends.ladder import Ladder
from backends.reading import hand_over, shares_caches
from backends.signals import Signals
from backends.stepper import Feed, Logits, Stepper
from backends.types import Done, Gate, Notice, Request, Step, Timing, Usage

T = TypeVar("T")
ALWAYS, NEVER = 1.0, 0.0


class RandomTracker(Tracker):
    """Fires at a share of the tokens, whatever they are."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(Gate(), lambda token: "")
        self._share, self._random = share, random.Random(seed)  # noqa: S311  # a measurement, not a secret

    def density(self, signals: Signals) -> float:
        """1 or 0."""
        return ALWAYS if self._random.random() < self._share else NEVER


class OracleTracker(Tracker):
    """Fires exactly where the high tier would choose another token: what no gate can do better.

    It keeps a sequence of its own on the high tier, one token behind nothing. Its time means nothing.
    """

    def __init__(self, high: Stepper, seq: int, logits: Logits) -> None:
        super().__init__(Gate(), lambda token: "")
        self._high, self._seq = high, seq
        self._best = int(logits.argmax())

    def density(self, signals: Signals) -> float:
        """1 or 0."""
        return ALWAYS if self._best != signals.best else NEVER

    def wrote(self, token: int, signals: Signals) -> None:
        """Read along."""
        self._best = int(self._high.step([Feed(self._seq, (token,))])[0][0].argmax())


def run_with_tracker(
    ladder: Ladder, request: Request, policy: Policy, seed: int
) -> tuple[list[Step], Done]:  # fmt: skip
    """Write a gated reply with a tracker of ours. Both caches should be empty before."""
    low, high = ladder.reader(policy.tier), ladder.reader(policy.high)
    prompt = low.stepper.chat_prompt(request.messages)
    text = [*prompt, *request.prefix]
    start = perf_counter()
    read = high.read(text)
    kept = hand_over(high, read.kept, low)
    shadow = high.fork(read.kept)
    prefill_s = perf_counter() - start
    own = policy.kind == "own-cache"
    gate = policy.gate if own else Gate(0.5)
    job = Job(request.sampling, request.max_tokens, gate, prompt, request.prefix, request.stop)
    writer = Writer(low.stepper, low.name, job)
    if policy.kind == "oracle":
        writer.tracker = OracleTracker(high.stepper, shadow.seq, read.logits)
    elif policy.kind == "random":
        writer.tracker = RandomTracker(policy.budget, seed)
    counts = Counts()
    pair = Pair(
        writer, kept.seq, high.stepper, high.name, read.kept.seq, [], counts, not own and shares_caches(low, high)
    )
    start = perf_counter()
    steps, reason = _drain(gated(pair, read.logits, high_logits=read.logits))
    seconds = perf_counter() - start
    for reader, owned in ((low, kept), (high, read.kept), (high, shadow)):
        reader.forget(owned)
    usage = Usage(len(prompt), 0, len(steps), counts.high_tokens, counts.high_steps)
    return steps, Done(usage, Timing(prefill_s, seconds, counts.high_s, counts.gate_s), reason)


def _drain(steps: Generator[Step | Notice, None, T]) -> tuple[list[Step], T]:
    found: list[Step] = []
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            value: T = end.value
            return found, value
        if isinstance(event, Step):
            found.append(event)
