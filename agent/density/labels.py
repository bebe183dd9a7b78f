"""Examples for fitting: the signals of each written token, and whether the high tier would have chosen another one.

Signals are computed by the very ``Tracker`` that the gate uses, replayed over the provenance of a finished reply, so a
fitted model sees at run time what it saw in fitting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.gate import SIGNALS, Tracker
from backends.signals import Signals
from backends.types import ForkMap, Gate, Step

Features = npt.NDArray[np.float64]
"""One row per token, one column per signal in the order of ``SIGNALS``."""
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """One reply of the low tier, read by the high tier."""

    features: Features
    """Shape ``[tokens, len(SIGNALS)]``."""
    forks: Labels
    """Where the high tier's first choice is not the low tier's, shape ``[tokens]``."""
    kl: npt.NDArray[np.float64]
    """KL(high || low) per token, nats."""
    prompt: int = -1
    """Number of the prompt, where several replies to one were written; they are not independent of each other."""

    def __len__(self) -> int:
        return len(self.forks)


def by_prompt(examples: Sequence[Example], values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Per-token values (one array per example) joined by prompt: the units to resample."""
    groups: dict[object, list[npt.NDArray[Any]]] = {}
    for at, (each, value) in enumerate(zip(examples, values, strict=True)):
        groups.setdefault(each.prompt if each.prompt >= 0 else ("alone", at), []).append(value)
    return [np.concatenate(group) for group in groups.values()]


def example(steps: Sequence[Step], reading: ForkMap, prompt: int = -1) -> Example:
    """The example of one reply that the low tier wrote alone.

    Args:
        steps: As the low tier wrote them, one per judgement.
        reading: The high tier's reading of the same tokens.
        prompt: See ``Example.prompt``.
    """
    count = min(len(steps), len(reading.judgements))
    forks = [best_of(steps[at]) != reading.judgements[at].best for at in range(count)]
    return Example(
        features_of(steps[:count]),
        np.asarray(forks, bool),
        np.asarray([judgement.kl for judgement in reading.judgements[:count]], np.float64),
        prompt,
    )


def features_of(steps: Sequence[Step]) -> Features:
    """Replay the signals of a reply, shape ``[len(steps), len(SIGNALS)]``."""
    texts = {step.token: step.text for step in steps}
    texts |= {other.token: other.text for step in steps for other in step.alternatives}
    tracker = Tracker(Gate(), lambda token: texts.get(token, ""))
    rows = np.zeros((len(steps), len(SIGNALS)))
    for at, step in enumerate(steps):
        seen = _seen(step)
        values = tracker.signals(seen)
        rows[at] = [values[name] for name in SIGNALS]
        tracker.wrote(step.token, seen)
    return rows


def best_of(step: Step) -> int:
    """The low tier's own first choice at a position (it differs from the token where that was drawn or overruled)."""
    return step.alternatives[0].token if step.alternatives else step.token


def _seen(step: Step) -> Signals:
    """The signals of a position as its provenance kept them."""
    best = best_of(step)
    p_best = step.alternatives[0].p if step.alternatives else step.p
    weights = np.zeros(max(best, step.token) + 1, np.float32)
    weights[best] = p_best
    weights[step.token] = step.p
    return Signals(
        best=best,
        second=best,
        log_best=math.log(max(p_best, 1e-30)),
        margin=step.margin,
        entropy=step.entropy,
        log_norm=0.0,
        weights=weights,
        total=1.0,
    )
