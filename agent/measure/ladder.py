"""What the tiers of a ladder cost on this machine: reading, writing, wide steps, and the handover between them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

from agent.measure.figures import Handover, LadderFigures, TierFigures, machine_name
from agent.measure.speed import FILLER, Say
from backends.ladder import Opener
from backends.reading import Reader, hand_over
from backends.signals import divergence, measure
from backends.stepper import Feed, Logits, Stepper
from backends.types import LadderSpec, TierSpec

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Tokens in one step: what the high tier takes when the gate fires after so many tokens."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    tokens: int = 1000
    """Length of the prompt (at most three quarters of the context)."""
    steps: int = 16
    repeats: int = 3


def measure_ladder(
    spec: LadderSpec,
    opener: Opener,
    key: str,
    effort: Effort,
    say: Say = lambda _: None,
    rss: Callable[[], int] = lambda: 0,
) -> LadderFigures:
    """Measure every tier and the handover from the lowest to each higher one.

    Raises:
        BackendError: a tier cannot be loaded or fails.
    """
    readers: list[Reader] = []
    try:
        for tier in spec.tiers:
            readers.append(Reader(tier, opener(tier, spec)))
        tiers = {}
        for reader in readers:
            say(f"{reader.name}: reading, writing, wide steps")
            tiers[reader.name] = _tier(reader, effort)
        low = readers[0]
        handovers = []
        for high in readers[1:]:
            say(f"{low.name} and {high.name}: handover")
            if low.stepper.facts.cache_key == high.stepper.facts.cache_key:
                handovers.append(_handover(low, high, effort))
            else:
                say(f"{low.name} and {high.name} cannot share a cache: each reads the prompt itself")
        return LadderFigures(
            model=key,
            machine=machine_name(),
            threads=spec.threads,
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            tiers=tiers,
            handovers=tuple(handovers),
            rss=rss(),
        )
    finally:
        for reader in readers:
            reader.stepper.close()


def open_with(tier: TierSpec, ladder: LadderSpec) -> Stepper:
    """The engine's own opener, imported when it is needed."""
    from backends.opening import open_stepper

    return open_stepper(tier, ladder)


def _tier(reader: Reader, effort: Effort) -> TierFigures:
    stepper = reader.stepper
    prompt = _prompt(stepper, effort, 0)
    seq = stepper.open()
    try:
        stepper.prefill(seq, prompt[:8])  # page faults and warm-up belong to loading
        stepper.truncate(seq, 0) if stepper.facts.can_truncate else None
        start = perf_counter()
        stepper.prefill(seq, prompt)
        read = len(prompt) / (perf_counter() - start)
        steps = {width: _step_s(stepper, seq, prompt[:width], effort) for width in WIDTHS}
    finally:
        stepper.drop(seq)
    return TierFigures(stepper.facts.bytes, read, 1.0 / steps[1], steps)


def _step_s(stepper: Stepper, seq: int, tokens: Sequence[int], effort: Effort) -> float:
    """Median seconds of one step of these tokens."""
    times = []
    count = effort.steps if len(tokens) == 1 else effort.repeats
    for _ in range(count):
        length = stepper.length(seq)
        start = perf_counter()
        stepper.step([Feed(seq, tokens, 1)])
        times.append(perf_counter() - start)
        if stepper.facts.can_truncate:
            stepper.truncate(seq, length)
    return statistics.median(times)


def _handover(low: Reader, high: Reader, effort: Effort) -> Handover:
    seconds, firsts, prefills, ups, downs, lows = [], [], [], [], [], []
    for turn in range(effort.repeats):
        prompt = _prompt(low.stepper, effort, turn + 1)
        below = low.read(prompt)
        # 1) The low tier's cache goes up: what a decision to look closer waits for.
        start = perf_counter()
        taken = hand_over(low, below.kept, high, len(prompt) - 1)
        seconds.append(perf_counter() - start)
        handed_up = high.stepper.step([Feed(taken.seq, prompt[-1:])])[0][0].copy()
        firsts.append(perf_counter() - start)
        high.forget(taken)
        low.forget(below.kept)  # one prompt at a time: the context may hold no more
        # 2) The high tier's own reading, and its cache handed down.
        above = high.read(prompt)
        prefills.append(above.seconds)
        given = hand_over(high, above.kept, low, len(prompt) - 1)
        handed_down = low.stepper.step([Feed(given.seq, prompt[-1:])])[0][0].copy()
        low.forget(given)
        ups.append(_kl(above.logits, handed_up))
        downs.append(_kl(above.logits, handed_down))
        lows.append(_kl(above.logits, below.logits))
        high.forget(above.kept)
    return Handover(
        low.name,
        high.name,
        len(prompt),
        statistics.median(seconds),
        statistics.median(firsts),
        statistics.median(prefills),
        statistics.fmean(ups),
        statistics.fmean(downs),
        statistics.fmean(lows),
    )


def _kl(high: Logits, other: Logits) -> float:
    return divergence(measure(high), measure(other))


def _prompt(stepper: Stepper, effort: Effort, turn: int) -> list[int]:
    """Different text each turn, so that nothing is found in a cache."""
    wanted = min(effort.tokens, stepper.facts.n_ctx * 3 // 4)
    tokens = [*stepper.tokenize(f"Entry {turn * 7919 + 1}. "), *stepper.tokenize(FILLER)]
    repeated = stepper.tokenize(FILLER)
    while len(tokens) < wanted:
        tokens += repeated
    return tokens[:wanted]
