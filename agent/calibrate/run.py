"""A whole calibration: collect, fit, check on held-out prompts, describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from agent.calibrate.budgets import with_budgets
from agent.calibrate.collect import examples, gated_replies, spent
from agent.calibrate.fit import fit_density
from agent.calibrate.prompts import ENOUGH, Prompt, split
from agent.density.calibration import Calibration, file_key
from agent.density.select import BUDGETS
from agent.density.thresholds import DEFAULT_THRESHOLDS
from agent.errors import AgentError
from agent.measure.stats import Estimate
from backends.engine import Engine
from backends.gate import DEFAULT_WEIGHTS
from backends.types import LadderStatus, Sampling


@dataclass(frozen=True, slots=True)
class Order:
    """What to calibrate."""

    model: str
    low: str
    high: str
    budget: float = 0.2
    tokens: int = 96
    """Longest reply."""
    samples: int = 3
    """Replies to each prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    source: str = ""
    check: bool = True
    """Write gated replies on the held-out prompts, to see what is really spent."""


def require_enough(prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that are too few or all of a piece; worth asking before a model is loaded. Raises AgentError."""
    if len(prompts) < ENOUGH:
        raise AgentError(
            f"There are {len(prompts)} prompts; at least {ENOUGH} are needed. Give a file of prompts, one a line"
        )
    if not all(split(prompts)):
        groups = len({prompt.group for prompt in prompts})
        source = f"{groups} conversations or documents" if groups > 1 else "one conversation or document"
        raise AgentError(
            f"The {len(prompts)} prompts come from {source}: too few to fit on some and to judge by others. Give a "
            "file of prompts, one a line"
        )


def calibrate(
    engine: Engine, prompts: Sequence[Prompt], order: Order, progress: Callable[[str, float], None]
) -> Calibration:
    """Fit a density model for a loaded ladder.

    Raises:
        AgentError: there are too few prompts or forks.
        BackendError: the engine failed.
    """
    require_enough(prompts)
    parts = split(prompts)
    ready = []
    for name, part in zip(("fitting", "choosing", "holding out"), parts, strict=True):
        ready.append(
            examples(
                engine, part, order.low, order.high, tokens=order.tokens, sampling=order.sampling,
                samples=order.samples, progress=_named(progress, f"replies for {name}"),
            )
        )  # fmt: skip
    if not all(ready):
        raise AgentError("Too few of the prompts fit into the context: raise engine.ctx or give shorter prompts")
    forks = sum(int(example.forks.sum()) for example in (*ready[0], *ready[1]))
    if forks < 3:
        raise AgentError(
            f"{order.low} and {order.high} chose the same token almost everywhere ({forks} forks): there is nothing to "
            "calibrate, and little to look closer for. More or longer prompts may find some"
        )
    train, choose, held_out = ready
    fitted = fit_density(train, choose, held_out)
    fitted = with_budgets(
        engine, [*parts[0], *parts[1]], fitted, order.low, order.high, tokens=order.tokens, sampling=order.sampling,
        progress=_named(progress, "gated replies for the budgets"),
    )  # fmt: skip
    paths = {tier.name: tier.path for tier in engine.status().tiers}
    found = Calibration(
        model=order.model,
        low=order.low,
        high=order.high,
        files={name: file_key(paths[name]) for name in (order.low, order.high)},
        weights=fitted.weights,
        thresholds=fitted.thresholds,
        turn_thresholds=fitted.turn_thresholds,
        budget=order.budget,
        held_out=fitted.held_out,
        tried=fitted.tried,
        source=order.source,
        date=_today(),
        note=fitted.note,
    )
    return _checked(engine, found, parts[2], order, progress) if order.check else found


def _checked(
    engine: Engine,
    found: Calibration,
    prompts: Sequence[Prompt],
    order: Order,
    progress: Callable[[str, float], None],
) -> Calibration:
    """With the shares that gated replies to the held-out prompts really spent."""
    budgets = sorted({*BUDGETS, order.budget})
    real: dict[str, Estimate] = {}
    for at, budget in enumerate(budgets):
        progress("gated replies to held-out prompts", at / len(budgets))
        replies = gated_replies(
            engine, prompts, order.low, order.high, found.gate(budget), tokens=order.tokens, sampling=order.sampling
        )
        real[f"{budget:.0%}"] = spent(replies)
    progress("gated replies to held-out prompts", 1.0)
    if found.held_out is None:
        return found
    shares = {budget: each.value for budget, each in real.items()}
    within = {budget: (each.low, each.high) for budget, each in real.items()}
    return replace(found, held_out=replace(found.held_out, spent=shares, spent_within=within, ran=True))


def uncalibrated(model: str, ladder: LadderStatus, low: str, high: str, budget: float) -> Calibration:
    """The default rule as a calibration, for picks to be added to."""
    paths = {tier.name: tier.path for tier in ladder.tiers}
    return Calibration(
        model=model,
        low=low,
        high=high,
        files={name: file_key(paths[name]) for name in (low, high)},
        weights=dict(DEFAULT_WEIGHTS),
        thresholds=DEFAULT_THRESHOLDS,
        budget=budget,
        source="default rule",
        date=_today(),
    )


def with_picks(found: Calibration, weights: Mapping[str, float], note: str) -> Calibration:
    """The same calibration with what a person's picks say."""
    return replace(found, picks=dict(weights), note=note, date=_today())


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _named(progress: Callable[[str, float], None], name: str) -> Callable[[float], None]:
    return lambda share: progress(name, share)
