"""The density model: logistic regression over named signals, fitted by iteratively reweighted least squares.

Signals are standardised for the fit (so that one ridge suits all of them) and the result is folded back into weights on
the raw signals, which is what ``backends.gate`` evaluates and what a person can read in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agent.density.labels import Features, Labels
from backends.gate import SIGNALS

Scores = npt.NDArray[np.float64]
_STEPS = 50


def fit(features: Features, labels: Labels, signals: Sequence[str], ridge: float = 1.0) -> dict[str, float]:
    """Weights (with ``bias``) of the named signals that best explain the labels.

    Args:
        features: Shape ``[n, len(SIGNALS)]``.
        labels: Shape ``[n]``.
        signals: Columns to use.
        ridge: See ``regress``.
    """
    columns = [SIGNALS.index(name) for name in signals]
    weights = regress(features[:, columns], labels, ridge)
    return dict(zip(("bias", *signals), weights.tolist(), strict=True))


def regress(raw: Features, labels: Labels, ridge: float = 1.0) -> Scores:
    """Logistic regression: bias and one weight per column of ``raw`` (shape ``[n, columns]``).

    Args:
        raw: Signals, not standardised.
        labels: Shape ``[n]``.
        ridge: Strength of the penalty on standardised weights (a prior of this precision); the bias is free.
    """
    centre, scale = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    design = np.column_stack([np.ones(len(raw)), (raw - centre) / scale])
    target = labels.astype(np.float64)
    penalty = np.diag([0.0, *([ridge] * raw.shape[1])])
    # Start at the base rate: far from it, the first Newton steps overshoot on rare labels.
    rate = float(np.clip(target.mean(), 1e-4, 1 - 1e-4))
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(rate / (1 - rate))
    for _ in range(_STEPS):
        p = sigmoid(design @ weights)
        spread = np.maximum(p * (1 - p), 1e-6)
        gradient = design.T @ (target - p) - penalty @ weights
        step = np.linalg.solve((design * spread[:, None]).T @ design + penalty, gradient)
        # A full Newton step may jump over the optimum where almost all labels are equal.
        step *= min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        weights += step
        if float(np.abs(step).max()) < 1e-8:
            break
    slopes = weights[1:] / scale
    return np.concatenate([[weights[0] - slopes @ centre], slopes])


def score(features: Features, weights: Mapping[str, float]) -> Scores:
    """Densities (0..1) of rows, as the gate computes them."""
    total = np.full(len(features), weights.get("bias", 0.0))
    for name, weight in weights.items():
        if name != "bias":
            total += weight * features[:, SIGNALS.index(name)]
    return sigmoid(total)


def sigmoid(x: Scores) -> Scores:
    """The logistic function without overflow."""
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def caught(scores: Scores, labels: Labels, budget: float) -> float:
    """Share of forks among the ``budget`` share of tokens with the highest scores (nan without forks).

    Ties at the edge count in proportion, so that a score with few values is not flattered by its order in memory.
    """
    return float(caught_at(scores, labels, (budget,))[0])


def caught_at(scores: Scores, labels: Labels, budgets: Sequence[float]) -> Scores:
    """``caught`` for several budgets, with one sort."""
    forks = int(labels.sum())
    if not forks:
        return np.full(len(budgets), np.nan)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    found = np.concatenate([[0.0], np.cumsum(labels[order], dtype=np.float64)])
    shares = np.zeros(len(budgets))
    for i, budget in enumerate(budgets):
        room = budget * len(scores)
        if room <= 0:
            continue
        edge = ordered[min(int(np.ceil(room)), len(scores)) - 1]
        above = int(np.searchsorted(-ordered, -edge, side="left"))
        until = int(np.searchsorted(-ordered, -edge, side="right"))
        part = (room - above) / (until - above)
        shares[i] = (found[above] + part * (found[until] - found[above])) / forks
    return shares
