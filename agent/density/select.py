"""Which signals earn a place beside the margin: only those that catch more forks of prompts they were not fitted on.

The margin alone is a superb gate (docs/precision.md), so the question is never "does this signal tell something" but
"does the model with it beat the model without it, by more than chance".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.density.labels import Example, Features, Labels, by_prompt
from agent.density.model import Scores, caught_at, fit, score
from agent.measure.stats import Estimate, bootstrap
from backends.gate import SIGNALS

BUDGETS = (0.05, 0.10, 0.20, 0.30)
"""Shares of tokens at which gates are compared."""
BASELINE = "margin"
MIN_FORKS = 30
"""With fewer forks than this in the validation prompts, no difference between gates can be shown."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One signal, tried beside those already chosen."""

    signal: str
    gain: Estimate
    """Forks caught with it minus without it (mean over ``BUDGETS``, 0..1), resampled over prompts."""
    kept: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen signals and what was tried."""

    signals: tuple[str, ...]
    tried: tuple[Tried, ...]
    note: str = ""


def stacked(examples: Sequence[Example]) -> tuple[Features, Labels]:
    """All tokens of some replies in one table."""
    return (
        np.concatenate([example.features for example in examples]),
        np.concatenate([example.forks for example in examples]),
    )


def select(train: Sequence[Example], validation: Sequence[Example], most: int = 4) -> Selection:
    """Add signals one by one while the best candidate's gain is above zero with its whole interval.

    Args:
        train: Replies the weights are fitted on.
        validation: Replies (of other prompts) the gains are measured on.
        most: Signals beside the margin, at most.
    """
    chosen: list[str] = [BASELINE]
    tried: list[Tried] = []
    if sum(int(example.forks.sum()) for example in validation) < MIN_FORKS:
        return Selection((BASELINE,), (), f"fewer than {MIN_FORKS} forks to judge by: the margin alone is used")
    features, labels = stacked(train)
    current = _scores(validation, fit(features, labels, chosen))
    for _ in range(most):
        trials = []
        for name in SIGNALS:
            if name in chosen:
                continue
            scores = _scores(validation, fit(features, labels, [*chosen, name]))
            trials.append((gain_of(validation, scores, current), name, scores))
        gain, name, scores = max(trials, key=lambda trial: trial[0].low)
        better = gain.low > 0
        if len(chosen) == 1 or not better:
            tried += [Tried(other, its, other == name and better) for its, other, _ in trials]
        else:
            tried.append(Tried(name, gain, True))
        if not better:
            break
        chosen.append(name)
        current = scores
    return Selection(tuple(chosen), tuple(tried))


def _scores(examples: Sequence[Example], weights: dict[str, float]) -> list[Scores]:
    return [score(example.features, weights) for example in examples]


def gain_of(examples: Sequence[Example], scores: Sequence[Scores], baseline: Sequence[Scores]) -> Estimate:
    """Forks caught more with one score than with another (mean over ``BUDGETS``), resampled over prompts."""
    labels = by_prompt(examples, [example.forks for example in examples])
    scores, baseline = by_prompt(examples, scores), by_prompt(examples, baseline)

    def figure(at: np.ndarray) -> float:
        forks = np.concatenate([labels[i] for i in at])
        new, old = np.concatenate([scores[i] for i in at]), np.concatenate([baseline[i] for i in at])
        return float(np.mean(caught_at(new, forks, BUDGETS) - caught_at(old, forks, BUDGETS)))

    return bootstrap(labels, figure, draws=200)
