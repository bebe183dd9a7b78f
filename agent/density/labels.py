"""Examples for fitting: the signals of each written token, and whether the high tier would have chosen another one.

Signals are computed by the very ``Tracker`` that the gate uses, replayed over the provenance of a finished reply, so a
fitted model sees at run time what it saw in fitting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.gate import SIGNALS, Tracker
from backends.signals import Signals
from backends.types import ForkMap, Gate, Judgement, Step

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


def example_of_text(low: ForkMap, high: ForkMap, prompt: int = -1) -> Example:
    """The example of a given text that both tiers read, teacher-forced.

    Args:
        low: The low tier's reading.
        high: The high tier's reading of the same tokens, against the low tier.
        prompt: See ``Example.prompt``.
    """
    pairs = list(zip(low.judgements, high.judgements, strict=True))
    return Example(
        _replayed([(_read(below), below.token) for below, _ in pairs], {j.best: j.best_text for j in low.judgements}
                  | {j.token: j.text for j in low.judgements}),
        np.asarray([below.best != above.best for below, above in pairs], bool),
        np.asarray([above.kl for _, above in pairs], np.float64),
        prompt,
    )  # fmt: skip


def features_of(steps: Sequence[Step]) -> Features:
    """Replay the signals of a reply, shape ``[len(steps), len(SIGNALS)]``."""
    texts = {step.token: step.text for step in steps}
    texts |= {other.token: other.text for step in steps for other in step.alternatives}
    return _replayed([(_seen(step), step.token) for step in steps], texts)


def _replayed(written: Sequence[tuple[Signals, int]], texts: Mapping[int, str]) -> Features:
    """Signals of each position, as the gate's tracker sees them when these tokens are written."""
    tracker = Tracker(Gate(), lambda token: texts.get(token, ""))
    rows = np.zeros((len(written), len(SIGNALS)))
    for at, (seen, token) in enumerate(written):
        values = tracker.signals(seen)
        rows[at] = [values[name] for name in SIGNALS]
        tracker.wrote(token, seen)
    return rows


def best_of(step: Step) -> int:
    """The low tier's own first choice at a position (it differs from the token where that was drawn or overruled)."""
    return step.alternatives[0].token if step.alternatives else step.token


def _seen(step: Step) -> Signals:
    """The signals of a position as its provenance kept them."""
    p_best = step.alternatives[0].p if step.alternatives else step.p
    return _known(best_of(step), p_best, step.token, step.p, step.margin, step.entropy)


def _read(judged: Judgement) -> Signals:
    """The signals of a position of a text that was read."""
    margin = math.log(max(judged.best_p, 1e-30) / max(judged.second_p, 1e-30))
    return _known(judged.best, judged.best_p, judged.token, judged.p, margin, judged.entropy)


def _known(best: int, p_best: float, token: int, p: float, margin: float, entropy: float) -> Signals:
    """What is left of a distribution in provenance and in readings."""
    weights = np.zeros(max(best, token) + 1, np.float32)
    weights[best] = p_best
    weights[token] = p
    return Signals(
        best=best,
        second=best,
        log_best=math.log(max(p_best, 1e-30)),
        margin=margin,
        entropy=entropy,
        log_norm=0.0,
        weights=weights,
        total=1.0,
    )
