"""How fast each tier writes and reads through fovea, beside a bare llama.cpp loop on the same file.

Everything goes through the engine host, as in a conversation: sampling, signals, provenance, the pipe. Blocks of both
loops alternate, and each ratio is taken between neighbours, so that other work on the machine falls on both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from agent.measure.stats import Estimate, paired_ratio
from backends.engine import Engine
from backends.errors import BackendError
from backends.types import Done, Event, Failed, LadderSpec, Message, Request, Step, TierSpec

Say = Callable[[str], None]

OPENING = "Tell me a long story about a lighthouse, its keeper, and everything that he sees in one year."
FILLER = (
    "The keeper of the lighthouse wrote down what he saw: the wind, the ships, the birds, the colour of the water. "
)


class Bare(Protocol):
    """The loop fovea is compared with (``agent.measure.bare.BareLoop``; tests give another)."""

    def prefill(self, tokens: Sequence[int]) -> float:
        """Read tokens from nothing; seconds."""

    def decode(self, steps: int) -> float:
        """Write greedily; seconds."""

    def decode_together(self, width: int, steps: int) -> float:
        """Write ``width`` continuations in one batch, and forget them; seconds."""

    def cut(self, length: int) -> None:
        """Keep the first tokens."""

    def close(self) -> None:
        """Free everything."""


OpenBare = Callable[[TierSpec, LadderSpec], Bare]


@dataclass(frozen=True, slots=True)
class Paired:
    """One kind of work, done by both loops in turn. Speeds in tokens per second (medians)."""

    fovea: float
    bare: float
    ratio: Estimate
    """fovea's speed as a share of the bare loop's: median over neighbouring blocks, with its interval."""
    pairs: int


@dataclass(frozen=True, slots=True)
class TierSpeed:
    """Figures of one tier."""

    name: str
    bytes: int
    decode: Paired
    prefill: Paired
    four: Estimate
    """Wall time of four continuations written together, as a multiple of one."""
    bare_four: Estimate
    """The same of the bare loop: how much of the multiple is llama.cpp's own on this processor."""


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """What ``fovea bench speed`` reports."""

    model: str
    threads: int
    tiers: tuple[TierSpeed, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: ``tokens`` a block, ``pairs`` of blocks, ``read`` prompt tokens."""

    tokens: int = 24
    pairs: int = 7
    read: int = 256
    reads: int = 3
    branches: int = 4


@dataclass(slots=True)
class Blocks:
    """Times of neighbouring blocks, in seconds, and the tokens each did."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, tokens: int, our_s: float, their_s: float) -> None:
        """Note a pair of blocks of the same work."""
        self.ours.append(tokens / our_s)
        self.theirs.append(tokens / their_s)

    def paired(self) -> Paired:
        """Medians and the ratio."""
        return Paired(_median(self.ours), _median(self.theirs), paired_ratio(self.ours, self.theirs), len(self.ours))


def measure_speed(
    engine: Engine, ladder: LadderSpec, model: str, open_bare: OpenBare, effort: Effort, say: Say = lambda _: None
) -> SpeedReport:
    """Measure every tier of ``ladder``.

    Raises:
        BackendError: a tier cannot be loaded or fails while it is measured.
    """
    status = engine.load(ladder)
    tiers = []
    for tier in ladder.tiers:
        if tier.name not in status.loaded():
            continue
        say(f"{tier.name}: writing, reading, continuations")
        bare = open_bare(tier, ladder)
        try:
            decode = _decode(engine, tier.name, bare, effort)
            prefill = _prefill(engine, tier.name, bare, effort)
            four, bare_four = _continuations(engine, tier.name, bare, effort)
        finally:
            bare.close()
        size = next(t.bytes for t in status.tiers if t.name == tier.name)
        tiers.append(TierSpeed(tier.name, size, decode, prefill, four, bare_four))
    return SpeedReport(model, ladder.threads, tuple(tiers), status.notices)


def _decode(engine: Engine, tier: str, bare: Bare, effort: Effort) -> Paired:
    messages = (Message("user", OPENING),)
    tokens, _ = written(engine, Request(messages, tier, max_tokens=4))  # warms up, and puts the prompt in the cache
    length = engine.count(messages)
    bare.prefill(_some_tokens(engine, length))
    bare.decode(1)
    blocks = Blocks()
    for turn in range(effort.pairs):
        pair = {}
        for who in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            if who == "ours":
                tokens, pair[who] = written(engine, Request(messages, tier, max_tokens=effort.tokens))
            else:
                bare.cut(length)
                # A reply of n tokens takes n - 1 steps: the first one comes out of the reading.
                pair[who] = bare.decode(effort.tokens - 1)
        # A model that ended its reply early did fewer steps than the bare loop.
        blocks.add(1, pair["ours"] / max(tokens - 1, 1), pair["theirs"] / (effort.tokens - 1))
    return blocks.paired()


def _prefill(engine: Engine, tier: str, bare: Bare, effort: Effort) -> Paired:
    blocks = Blocks()
    filler = FILLER * max(1, effort.read // max(len(engine.tokenize(FILLER)), 1))
    for turn in range(effort.reads):
        text = f"{turn * 7919 + len(tier)} {filler}"
        messages = (Message("user", text), Message("assistant", "Yes."), Message("user", "Go on."))
        length = engine.count(messages)
        start = perf_counter()
        done = finish(engine, Request(messages, tier, max_tokens=1))
        ours = perf_counter() - start
        fresh = max(length - done.usage.cached_tokens, 1)
        blocks.add(fresh, ours, bare.prefill(_some_tokens(engine, fresh)))
    return blocks.paired()


def _continuations(engine: Engine, tier: str, bare: Bare, effort: Effort) -> tuple[Estimate, Estimate]:
    """Four written together as a multiple of one, through fovea and bare."""
    messages = (Message("user", OPENING),)
    bare.prefill(_some_tokens(engine, engine.count(messages)))
    ours: dict[int, list[float]] = {1: [], 4: []}
    theirs: dict[int, list[float]] = {1: [], 4: []}
    for turn in range(effort.branches):
        for n in (1, 4) if turn % 2 else (4, 1):
            tokens, seconds = written(engine, Request(messages, tier, n=n, max_tokens=effort.tokens))
            ours[n].append(seconds * n / max(tokens - n, 1))
            theirs[n].append(bare.decode_together(n, effort.tokens - 1) / (effort.tokens - 1))
    return paired_ratio(ours[4], ours[1]), paired_ratio(theirs[4], theirs[1])


def written(engine: Engine, request: Request) -> tuple[int, float]:
    """Tokens written and the seconds from the first to the last of them, as the listener sees it."""
    count, first, last = 0, 0.0, 0.0
    for event in _checked(engine.run(request)):
        if isinstance(event, Step):
            last = perf_counter()
            first = first or last
            count += 1
    return count, max(last - first, 1e-9)


def finish(engine: Engine, request: Request) -> Done:
    """Run a request to its end. Raises BackendError when it fails."""
    done = [event for event in _checked(engine.run(request)) if isinstance(event, Done)]
    if not done:
        raise BackendError("The engine ended a request without saying why.")
    return done[-1]


def _checked(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Failed):
            raise BackendError(event.text)
        yield event


def _some_tokens(engine: Engine, count: int) -> list[int]:
    tokens = engine.tokenize(FILLER)
    return (tokens * (count // len(tokens) + 1))[:count]


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values)
