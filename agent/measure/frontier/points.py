"""From trials to points of the frontier: fidelity, cost and share, each with an interval over prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.density.labels import Example, by_prompt
from agent.density.model import Scores, caught_at
from agent.measure.frontier.policies import BUDGETS, Policy
from agent.measure.frontier.trial import Trial
from agent.measure.stats import Estimate, auroc, bootstrap, bootstraps, share
from backends.gate import SIGNALS


@dataclass(frozen=True, slots=True)
class Point:
    """One policy."""

    name: str
    kind: str
    agreement: Estimate
    """Share of generated tokens that are the highest tier's own first choice."""
    kl: Estimate
    kl_tail: float
    """99 % quantile of the divergence per token."""
    identical: Estimate
    """Share of replies that are the highest tier's, token for token."""
    right: Estimate | None
    """Share of known answers found."""
    seconds: float
    """Wall time of all replies."""
    tok_s: float
    """Tokens written per second of writing."""
    speed: Estimate
    """Tokens per second of writing as a multiple of the highest tier's, paired by prompt."""
    time: Estimate
    """Wall time per token as a share of the highest tier's, paired by prompt."""
    time_8bit: Estimate | None
    """The same as a share of the 8-bit tier's."""
    high: Estimate
    """Share of tokens decided by the policy's higher tier."""
    gate: float
    """The gate's own share of the writing time."""
    memory: int
    """Bytes of the tiers in use and of their contexts."""


@dataclass(frozen=True, slots=True)
class Flips:
    """Known answers that changed between the lowest and the highest tier, in both directions."""

    questions: int
    lost: int
    """The highest tier is right, the lowest is not."""
    gained: int
    """The lowest tier is right, the highest is not."""


@dataclass(frozen=True, slots=True)
class Router:
    """A score as a router of tokens, as the field reports it (RouteLLM's names), teacher-forced on the low tier's text.

    The quality gap to recover is the forks: a share ``c`` of tokens at the high tier recovers the forks it catches.
    """

    name: str
    auroc: Estimate
    apgr: Estimate
    """Mean recovered share over all budgets (0.5 is chance)."""
    cpt50: Estimate
    """Share of tokens needed to recover half of the gap."""
    cpt80: Estimate
    caught: Mapping[str, Estimate]
    """Budget to the share of forks caught."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Routers on one kind of text."""

    name: str
    tokens: int
    forks: int
    units: int
    """Prompts or documents: what was resampled."""
    at_ties: float
    """Share of forks among the 2 % of tokens with the smallest margins: where two tokens are nearly tied, either
    precision may take either, so no gate is right much more often than this."""
    routers: tuple[Router, ...]


def points(
    trials: Sequence[Trial], policies: Sequence[Policy], top: str, eight: str, memory: Mapping[str, int]
) -> list[Point]:
    """One point per policy."""
    by = {policy.name: _by_prompt(trials, policy.name) for policy in policies}
    return [_point(policy, by[policy.name], by[top], by.get(eight), memory) for policy in policies]


def _by_prompt(trials: Sequence[Trial], name: str) -> dict[int, Trial]:
    return {trial.prompt: trial for trial in trials if trial.policy == name}


def _point(
    policy: Policy,
    own: Mapping[int, Trial],
    best: Mapping[int, Trial],
    eight: Mapping[int, Trial] | None,
    memory: Mapping[str, int],
) -> Point:
    rows = list(own.values())
    counts = [len(trial.tokens) for trial in rows]
    divergences = np.concatenate([np.asarray(trial.kl) for trial in rows])
    answered = [float(trial.right) for trial in rows if trial.right is not None]
    writing = sum(trial.write_s for trial in rows)
    return Point(
        name=policy.name,
        kind=policy.kind,
        agreement=share([trial.agree for trial in rows], counts),
        kl=share([float(np.sum(trial.kl)) for trial in rows], counts),
        kl_tail=float(np.quantile(divergences, 0.99)),
        identical=share([float(trial.tokens == best[trial.prompt].tokens) for trial in rows], [1.0] * len(rows)),
        right=share(answered, [1.0] * len(answered)) if answered else None,
        seconds=sum(trial.seconds for trial in rows),
        tok_s=sum(counts) / max(writing, 1e-9),
        speed=_speed(own, best),
        time=_time(own, best),
        time_8bit=_time(own, eight) if eight else None,
        high=share([trial.high for trial in rows], counts),
        gate=sum(trial.gate_s for trial in rows) / max(writing, 1e-9),
        memory=sum(memory.get(tier, 0) for tier in policy.tiers),
    )


def _time(own: Mapping[int, Trial], other: Mapping[int, Trial]) -> Estimate:
    """Wall time per token as a share of another policy's: median over prompts, which were run next to each other."""
    ratios = np.asarray(
        [
            (trial.seconds / len(trial.tokens)) / (other[at].seconds / len(other[at].tokens))
            for at, trial in own.items()
            if trial.tokens and other[at].tokens
        ]
    )
    return bootstrap(ratios, lambda at: float(np.median(ratios[at])))


def _speed(own: Mapping[int, Trial], other: Mapping[int, Trial]) -> Estimate:
    """Speed of writing alone, as a multiple of another policy's: median over prompts."""
    ratios = np.asarray(
        [
            (len(trial.tokens) / trial.write_s) / (len(other[at].tokens) / other[at].write_s)
            for at, trial in own.items()
            if trial.tokens and other[at].tokens and trial.write_s > 0 and other[at].write_s > 0
        ]
    )
    return bootstrap(ratios, lambda at: float(np.median(ratios[at])))


def flips(trials: Sequence[Trial], low: str, top: str) -> Flips:
    """Changed answers."""
    below, above = _by_prompt(trials, low), _by_prompt(trials, top)
    asked = [at for at, trial in above.items() if trial.right is not None]
    return Flips(
        len(asked),
        sum(bool(above[at].right) and not below[at].right for at in asked),
        sum(bool(below[at].right) and not above[at].right for at in asked),
    )


def reading(name: str, scores: Mapping[str, Sequence[Scores]], examples: Sequence[Example]) -> Reading:
    """The figures of several scores on the same texts.

    Args:
        name: Of the texts.
        scores: Name of a score to its values, one array per example.
        examples: The texts as both tiers read them.
    """
    forks = np.concatenate([example.forks for example in examples])
    margins = np.concatenate([example.features[:, SIGNALS.index("margin")] for example in examples])
    tied = forks[np.argsort(margins, kind="stable")[: max(1, len(forks) // 50)]]
    return Reading(
        name,
        len(forks),
        int(forks.sum()),
        len(by_prompt(examples, [example.forks for example in examples])),
        float(tied.mean()),
        tuple(router(each, values, examples) for each, values in scores.items()),
    )


def router(name: str, scores: Sequence[Scores], examples: Sequence[Example]) -> Router:
    """Figures of one score on held-out replies."""
    labels = by_prompt(examples, [example.forks for example in examples])
    scores = by_prompt(examples, scores)
    grid = np.linspace(0.01, 1.0, 100)
    budgets = [float(np.abs(grid - budget).argmin()) for budget in BUDGETS]

    def figures(at: np.ndarray) -> list[float]:
        mine, forks = np.concatenate([scores[i] for i in at]), np.concatenate([labels[i] for i in at])
        curve = caught_at(mine, forks, grid.tolist())
        area = float(np.trapezoid(np.concatenate([[0.0], curve]), np.concatenate([[0.0], grid])))
        caught = [float(curve[int(at)]) for at in budgets]
        return [auroc(mine, forks), area, _cost(grid, curve, 0.5), _cost(grid, curve, 0.8), *caught]

    found = bootstraps(labels, figures, draws=300)
    return Router(
        name,
        found[0],
        found[1],
        found[2],
        found[3],
        {f"{b:.0%}": caught for b, caught in zip(BUDGETS, found[4:], strict=True)},
    )


def _cost(grid: np.ndarray, curve: np.ndarray, quality: float) -> float:
    reached = np.flatnonzero(curve >= quality)
    return float(grid[reached[0]]) if len(reached) else 1.0
