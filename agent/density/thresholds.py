"""From a budget in percent to a threshold of the gate, by playing the gate over replies that were scored.

A share of tokens is what a person can decide about; a threshold is not (RouteLLM's users asked what 0.1881 means).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.density.model import Scores

BUDGETS = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.50)
"""Shares a calibration stores thresholds for; others are interpolated."""
NEVER = 1.01
"""A density can not reach this."""
DRAFT_DOUBT = 0.1
"""Density at which a speculative draft ends, whatever the budget: one more draft then costs more (a step of the low
tier and a column of the high tier's) than the chance that it is right saves. Where 4 bits cost two fifths of 16,
anything from 0.05 to 0.15 gives the same speed within 1 %, and 0.2 loses 2 % (bench.drafts)."""
DEFAULT_DRAFT_DOUBT = 5e-5
"""The same for the default rule: a margin of half a nat, where the rule's densities are far too low to be taken for
chances (they need only be in the right order). From 0.4 to 0.7 nats it is the same within 1.5 % (bench.drafts)."""
DEFAULT_THRESHOLDS = ((0.02, 0.4), (0.05, 0.27), (0.1, 0.12), (0.2, 0.02), (0.3, 0.005))
"""(budget, threshold) of the default rule, from margins of a Q4_K_M model (docs/precision.md). Only a start: the
controller finds what a model really needs."""


def spent(replies: Sequence[Scores], threshold: float, *, first: bool, max_pending: int = 64) -> float:
    """Share of tokens the high tier would choose.

    Args:
        replies: Densities of the tokens of each reply.
        threshold: The gate fires where density reaches it.
        first: The high tier writes the first token (it read the prompt, so that costs nothing).
        max_pending: It is also asked after so many tokens without a firing.
    """
    high = every = 0
    for scores in replies:
        fires = np.flatnonzero(scores >= threshold)
        last, count = (0, 1) if first and len(scores) else (-1, 0)
        for at in [*fires.tolist(), len(scores)]:
            if at <= last:
                continue
            forced = (at - last - 1) // max_pending  # the token of a firing is the first one pending after it
            count += forced + (at < len(scores))
            last = at
        high += count
        every += len(scores)
    return high / every if every else 0.0


def threshold_for(replies: Sequence[Scores], budget: float, *, first: bool = True, max_pending: int = 64) -> float:
    """The threshold that spends ``budget`` of the tokens of ``replies``, as nearly as a threshold can."""
    everything = np.unique(np.concatenate([*replies, np.asarray([NEVER])])) if replies else np.asarray([0.5])
    low, high = 0, len(everything) - 1
    while low < high:  # spending falls as the threshold rises: find the lowest threshold within the budget
        middle = (low + high) // 2
        if spent(replies, float(everything[middle]), first=first, max_pending=max_pending) > budget:
            low = middle + 1
        else:
            high = middle
    within = float(everything[low])
    if low == 0:
        return within
    below = float(everything[low - 1])
    over = spent(replies, below, first=first, max_pending=max_pending) - budget
    under = budget - spent(replies, within, first=first, max_pending=max_pending)
    if over < under:
        return below
    # Halfway between two observed densities, so that neither stands on the edge.
    return (below + within) / 2 if within < NEVER else within


def interpolated(thresholds: Sequence[tuple[float, float]], budget: float) -> float:
    """The threshold for a budget between measured ones (linear in the logit, as densities are logistic)."""
    if budget <= 0 or not thresholds:
        return NEVER
    ordered = sorted(thresholds)
    budgets = [pair[0] for pair in ordered]
    logits = [_logit(pair[1]) for pair in ordered]
    if budget < budgets[0]:
        # Below the first measured budget: stricter by up to one logit.
        return _unlogit(logits[0] + (budgets[0] - budget) / budgets[0])
    if budget >= 1:
        return 0.0
    return _unlogit(float(np.interp(budget, budgets, logits)))


def _logit(p: float) -> float:
    if p >= 1:
        return 40.0
    return float(np.log(max(p, 1e-15) / max(1 - p, 1e-15)))


def _unlogit(x: float) -> float:
    return NEVER if x >= 36 else float(1 / (1 + np.exp(-x)))
