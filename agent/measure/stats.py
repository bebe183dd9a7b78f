"""Statistics of measurements: bootstrap intervals, paired ratios, the area under a ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DRAWS = 1000
"""Bootstrap resamples: the ends of a 95 % interval then stand on 25 draws each."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"

    def percent(self, digits: int = 1) -> str:
        """As percentages."""
        return f"{100 * self.value:.{digits}f} % [{100 * self.low:.{digits}f}, {100 * self.high:.{digits}f}]"


def bootstrap(
    rows: Sequence[Any] | npt.NDArray[Any],
    figure: Callable[[npt.NDArray[Any]], float],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """A figure of ``rows`` with its percentile interval (Efron 1979).

    Args:
        rows: What is resampled, one row per *independent* unit (a prompt, not a token).
        figure: Computes the figure from an array of row numbers.
        draws: Resamples.
        seed: The same rows always give the same interval.
    """
    return bootstraps(rows, lambda at: (figure(at),), draws=draws, seed=seed)[0]


def bootstraps(
    rows: Sequence[Any] | npt.NDArray[Any],
    figures: Callable[[npt.NDArray[Any]], Sequence[float]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Estimate]:
    """Several figures from the same resamples (see ``bootstrap``)."""
    count = len(rows)
    values = figures(np.arange(count))
    if count < 2:
        return [Estimate(value, value, value) for value in values]
    generator = np.random.default_rng(seed)
    drawn = np.asarray([figures(generator.integers(0, count, count)) for _ in range(draws)], np.float64)
    return [_interval(value, drawn[:, at]) for at, value in enumerate(values)]


def _interval(value: float, drawn: Array) -> Estimate:
    kept = drawn[np.isfinite(drawn)]
    if not len(kept):
        return Estimate(value, value, value)
    low, high = np.percentile(kept, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def mean(values: Sequence[float]) -> Estimate:
    """Mean with its interval."""
    array = np.asarray(values, np.float64)
    return bootstrap(array, lambda at: float(array[at].mean()))


def share(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """sum(parts) / sum(wholes), resampled over pairs (for example forks of tokens, per prompt)."""
    above, below = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    return bootstrap(above, lambda at: float(above[at].sum() / max(below[at].sum(), 1e-12)))


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Median of first/second over pairs that were measured next to each other: drift of the machine cancels."""
    ratios = np.asarray(first, np.float64) / np.asarray(second, np.float64)
    return bootstrap(ratios, lambda at: float(np.median(ratios[at])))


def auroc(scores: Array, labels: npt.NDArray[np.bool_]) -> float:
    """Chance that a positive gets a higher score than a negative (ties count half); nan without both kinds."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    # Mean rank within each run of equal scores.
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.concatenate([starts[1:], [len(ordered)]])
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))
