"""The slow budget controller: the threshold moves with what was spent too much or too little so far.

Integral control without a state of its own: tokens spent over (or under) the budget since the conversation began *are*
the integral of the error, and the tree knows them. So a restart, an undo or a changed budget need no care.
"""

from __future__ import annotations

import math

from agent.density.thresholds import NEVER
from agent.values import Spending

GAIN = 0.02
"""Logits the threshold moves per token over the budget. A reply of 200 tokens at a budget of 20 %, where a logit of
threshold changes the share by about a tenth, then corrects some 40 % of an error: no swinging."""
REACH = 4.0
"""Largest shift in logits either way, so that a long conversation at the low tier does not open the gate for good."""


def exhausted(spending: Spending, budget: float, *, controlled: bool) -> bool:
    """Whether nothing more may be spent for now.

    That is when more than the budget was spent; with the controller, only when moving the threshold no longer helps.
    """
    over = spending.high - budget * spending.all
    return over > (REACH / GAIN if controlled else 0.0)


def shifted(threshold: float, spending: Spending, budget: float) -> float:
    """The threshold to use now.

    Args:
        threshold: What the budget asks for by calibration.
        spending: Of this conversation so far.
        budget: Share of tokens (0..1).
    """
    if threshold >= 1.0 or threshold <= 0.0:
        return threshold
    over = spending.high - budget * spending.all
    shift = max(-REACH, min(REACH, GAIN * over))
    logit = math.log(threshold / (1.0 - threshold)) + shift
    return min(1.0 / (1.0 + math.exp(-logit)), NEVER)
