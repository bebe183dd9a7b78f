"""One run of the frontier: fit, then every policy in turn on each held-out prompt, in an order that rotates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from agent.calibrate.collect import examples
from agent.calibrate.fit import Fitted, fit_density
from agent.calibrate.prompts import Prompt, split
from agent.density.labels import Example
from agent.density.model import Scores, score
from agent.density.thresholds import NEVER, interpolated, threshold_for
from agent.errors import AgentError
from agent.measure.figures import machine_name
from agent.measure.frontier.local import LocalEngine
from agent.measure.frontier.points import Router, flips, points, router
from agent.measure.frontier.policies import BUDGETS, EIGHT_BIT, Policy, policies
from agent.measure.frontier.report import Report, verdict
from agent.measure.frontier.trial import Trial, run_trial
from agent.measure.speed import Say
from backends.gate import SIGNALS
from backends.types import Gate, Sampling

ENTROPY_SCALE = 4.0
"""Makes a density of the entropy: sigmoid(scale · (entropy - threshold)) has the order of the entropy."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run."""

    model: str
    tiers: tuple[str, ...]
    """Low to high."""
    threads: int = 0
    tokens: int = 64
    """Longest reply."""
    samples: int = 3
    """Replies to each prompt for fitting and for the routers' figures."""
    prompts: int = 0
    """Held-out prompts at most (0: all)."""
    kinds: tuple[str, ...] = ()
    """Kinds of policies to run (see ``Policy.kind``); empty: all of them. ``static`` is always run."""
    draft: float = 0.08
    """Share of tokens at which speculative drafting stops to doubt."""
    sampling: Sampling = field(default_factory=Sampling)


def frontier(
    engine: LocalEngine, prompts: Sequence[Prompt], order: Order, say: Say = lambda _: None
) -> tuple[Report, list[Trial]]:
    """Run everything.

    Raises:
        AgentError: too few prompts, or the tiers do not differ.
        BackendError: a tier failed.
    """
    low, top = order.tiers[0], order.tiers[-1]
    if low == top:
        raise AgentError("A frontier needs two tiers at least")
    train, choose, held = split(prompts, (0.25, 0.25, 0.5))
    say(f"fitting density on {len(train) + len(choose)} prompts")
    known = [examples(engine, part, low, top, tokens=order.tokens, sampling=order.sampling) for part in (train, choose)]
    if order.prompts:
        held = _spread(held, order.prompts)
    say(f"reading {len(held)} held-out prompts")
    unseen = examples(engine, held, low, top, tokens=order.tokens, sampling=order.sampling, samples=order.samples)
    if not (known[0] and known[1] and unseen):
        raise AgentError("Too few prompts fit into the context")
    fitted = fit_density(known[0], known[1], unseen)
    plans = _policies(order, fitted, [*known[0], *known[1]])
    trials = _trials(engine, plans, held, order, say)
    eight = next((tier for tier in order.tiers if tier in EIGHT_BIT), "")
    found = points(trials, plans, top, eight, engine.memory)
    return (
        Report(
            verdict=verdict(found, trials, eight, top),
            model=order.model,
            machine=machine_name(),
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            threads=order.threads,
            prompts=len(held),
            tokens=sum(len(trial.tokens) for trial in trials if trial.policy == top),
            low=low,
            top=top,
            eight=eight,
            points=tuple(found),
            routers=_routers(fitted, unseen),
            flips=flips(trials, low, top),
            density=fitted.weights,
            note=fitted.note,
        ),
        trials,
    )


def _trials(
    engine: LocalEngine, plans: Sequence[Policy], held: Sequence[Prompt], order: Order, say: Say
) -> list[Trial]:
    found = []
    for number, prompt in enumerate(held):
        say(f"prompt {number + 1} of {len(held)}")
        # Rotating the order spreads whatever the machine does meanwhile over all policies.
        for policy in [*plans[number % len(plans) :], *plans[: number % len(plans)]]:
            trial = run_trial(
                engine.ladder, policy, prompt, number, order.tiers[-1], sampling=order.sampling, tokens=order.tokens
            )
            found.append(trial)
    return found


def _policies(order: Order, fitted: Fitted, known: Sequence[Example]) -> list[Policy]:
    entropy = SIGNALS.index("entropy")
    scores = [score(example.features, fitted.weights) for example in known]
    raw = [example.features[:, entropy] for example in known]
    density = {b: Gate(interpolated(fitted.thresholds, b), dict(fitted.weights)) for b in BUDGETS}
    by_entropy = {b: _entropy_gate(raw, b) for b in BUDGETS}
    draft = Gate(threshold_for(scores, order.draft, first=False), dict(fitted.weights))
    turns = dict(fitted.turn_thresholds).get(0.2, NEVER)
    length = sum(len(example) for example in known) / len(known)
    found = policies(order.tiers, density, by_entropy, draft, turns, length)
    return [policy for policy in found if not order.kinds or policy.kind in ("static", *order.kinds)]


def _entropy_gate(raw: Sequence[Scores], budget: float) -> Gate:
    edge = threshold_for([1.0 - np.exp(-values) for values in raw], budget)
    entropy = -np.log(max(1.0 - edge, 1e-9)) if edge < 1 else 50.0
    return Gate(0.5, {"bias": float(-ENTROPY_SCALE * entropy), "entropy": ENTROPY_SCALE})


def _routers(fitted: Fitted, unseen: Sequence[Example]) -> tuple[Router, ...]:
    rng = np.random.default_rng(0)
    entropy = SIGNALS.index("entropy")
    scores: dict[str, list[Scores]] = {
        "density (fitted)": [score(example.features, fitted.weights) for example in unseen],
        "margin (default rule)": [-example.features[:, SIGNALS.index("margin")] for example in unseen],
        "entropy": [example.features[:, entropy] for example in unseen],
        "top-1 probability": [-example.features[:, SIGNALS.index("p_best")] for example in unseen],
        "random": [rng.random(len(example)) for example in unseen],
        "oracle": [example.forks.astype(np.float64) for example in unseen],
    }
    return tuple(router(name, values, unseen) for name, values in scores.items())


def _spread(prompts: Sequence[Prompt], most: int) -> list[Prompt]:
    """Prompts of every kind, as evenly as there are."""
    kinds: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        kinds.setdefault(prompt.kind, []).append(prompt)
    chosen: list[Prompt] = []
    while len(chosen) < min(most, len(prompts)):
        for members in kinds.values():
            if members and len(chosen) < most:
                chosen.append(members.pop(0))
    return chosen
