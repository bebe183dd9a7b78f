"""Thresholds of a density model from gated replies that are really written.

Text that the high tier mends here and there goes on otherwise than the low tier's own, and the more is mended, the
fewer places are dense. So each threshold is set by replies that were written at about the budget it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.calibrate.collect import densities, gated_replies
from agent.calibrate.fit import Fitted
from agent.calibrate.prompts import Prompt
from agent.density.model import Scores
from agent.density.thresholds import BUDGETS, interpolated, threshold_for
from backends.engine import Engine
from backends.types import Gate, Sampling

PASSES = ((0.15, 0.0, 1.0), (0.05, 0.0, 0.07), (0.30, 0.25, 1.0))
"""(budget at which gated replies are written, the smallest and the largest budget whose threshold they set). The first
pass sets all of them, so that the others are written at about the shares they are meant for."""


def with_budgets(
    engine: Engine,
    prompts: Sequence[Prompt],
    fitted: Fitted,
    low: str,
    high: str,
    *,
    tokens: int,
    sampling: Sampling,
    progress: Callable[[float], None] = lambda share: None,
) -> Fitted:
    """The same model with thresholds by the densities of gated replies to ``prompts``.

    Raises:
        BackendError: the engine failed.
    """
    for number, (budget, least, most) in enumerate(PASSES):

        def told(share: float, done: int = number) -> None:
            progress((done + share) / len(PASSES))

        gate = Gate(interpolated(fitted.thresholds, budget), dict(fitted.weights))
        replies = gated_replies(engine, prompts, low, high, gate, tokens=tokens, sampling=sampling, progress=told)
        fitted = with_thresholds(fitted, densities(replies), least, most)
    return fitted


def with_thresholds(fitted: Fitted, replies: Sequence[Scores], least: float = 0.0, most: float = 1.0) -> Fitted:
    """The same model with thresholds by the densities of given replies, for budgets from ``least`` to ``most``."""
    if not replies:
        return fitted
    found = dict(fitted.thresholds)
    found.update({budget: threshold_for(replies, budget) for budget in BUDGETS if least <= budget <= most})
    return replace(fitted, thresholds=tuple(sorted(found.items())))
