"""One run of the frontier: fit, then every policy in turn on each held-out prompt, in an order that rotates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from agent.calibrate.budgets import with_budgets
from agent.calibrate.collect import beginning, examples
from agent.calibrate.fit import first_replies, fit_density
from agent.calibrate.prompts import Prompt, split
from agent.calibrate.texts import Passage, read_texts
from agent.density.calibration import Calibration
from agent.density.labels import Example
from agent.density.model import Scores, score
from agent.density.thresholds import DRAFT_DOUBT, NEVER, interpolated, threshold_for
from agent.errors import AgentError
from agent.measure.figures import machine_name
from agent.measure.frontier.control import Difference, explain
from agent.measure.frontier.local import LocalEngine
from agent.measure.frontier.points import Reading, flips, points, reading
from agent.measure.frontier.policies import BUDGETS, EIGHT_BIT, Policy, policies
from agent.measure.frontier.report import Report, verdict
from agent.measure.frontier.trial import Trial, run_trial
from agent.measure.speed import Say
from backends.gate import SIGNALS
from backends.types import Gate, Sampling

SHARES = (0.25, 0.25, 0.5)
"""Of prompts and of texts: to fit on, to choose by, held out."""
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
    calibration: Calibration | None = None
    """Use this density model instead of fitting one (no routers' figures then)."""
    sampling: Sampling = field(default_factory=Sampling)


def frontier(
    engine: LocalEngine,
    prompts: Sequence[Prompt],
    order: Order,
    say: Say = lambda _: None,
    texts: Sequence[Passage] = (),
) -> tuple[Report, list[Trial]]:
    """Run everything.

    Args:
        engine: With the tiers loaded.
        prompts: Split by group into those that fit, those that choose and those that are held out.
        order: What to run.
        say: Told of progress.
        texts: Given texts to read besides, split in the same way: for figures of their own.

    Raises:
        AgentError: too few prompts, or the tiers do not differ.
        BackendError: a tier failed.
    """
    low, top = order.tiers[0], order.tiers[-1]
    if low == top:
        raise AgentError("A frontier needs two tiers at least")
    _, _, held = split(prompts, SHARES)
    spread = _spread(held, order.prompts) if order.prompts else held
    density, readings = _density(engine, prompts, spread, order, say, texts)
    plans = _policies(order, density)
    trials = _trials(engine, plans, spread, order, say)
    eight = next((tier for tier in order.tiers if tier in EIGHT_BIT), "")
    found = points(trials, plans, top, eight, engine.memory)
    return (
        Report(
            verdict=verdict(found, trials, eight, top),
            model=order.model,
            machine=machine_name(),
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            threads=order.threads,
            prompts=len(spread),
            tokens=sum(len(trial.tokens) for trial in trials if trial.policy == top),
            low=low,
            top=top,
            eight=eight,
            points=tuple(found),
            routers=readings,
            flips=flips(trials, low, top),
            differences=_differences(engine, plans, spread, trials, order, say),
            density=dict(density.weights),
            thresholds={budget: gate.threshold for budget, gate in density.gates.items()},
            note=density.note,
        ),
        trials,
    )


@dataclass(frozen=True, slots=True)
class _Density:
    """What the gates need of a density model."""

    weights: Mapping[str, float]
    gates: Mapping[float, Gate]
    entropy: Mapping[float, Gate]
    turn_threshold: float
    length: float
    """Mean tokens of a reply."""
    note: str


def _density(
    engine: LocalEngine,
    prompts: Sequence[Prompt],
    held: Sequence[Prompt],
    order: Order,
    say: Say,
    texts: Sequence[Passage],
) -> tuple[_Density, tuple[Reading, ...]]:
    """The density model: fitted here, or that of a calibration, which was made elsewhere of the same model."""
    given = order.calibration
    if given is not None:
        gates = {budget: given.gate(budget) for budget in BUDGETS}
        note = f"density and thresholds of a calibration: {given.source}, {given.date}"
        return _Density(given.weights, gates, {}, given.turn_threshold(0.2), float(order.tokens), note), ()
    low, top = order.tiers[0], order.tiers[-1]
    train, choose, _ = split(prompts, SHARES)
    say(f"fitting density on {len(train) + len(choose)} prompts, reading {len(held)} held-out ones")
    parts = [
        examples(engine, part, low, top, tokens=order.tokens, sampling=order.sampling, samples=order.samples)
        for part in (train, choose, held)
    ]
    if not all(parts):
        raise AgentError("Too few prompts fit into the context")
    fitted = fit_density(parts[0], parts[1], parts[2])
    fitted = with_budgets(
        engine, [*train, *choose], fitted, low, top, tokens=order.tokens, sampling=order.sampling
    )  # fmt: skip
    known = [*first_replies(parts[0]), *first_replies(parts[1])]
    raw = [example.features[:, SIGNALS.index("entropy")] for example in known]
    density = _Density(
        fitted.weights,
        {budget: Gate(interpolated(fitted.thresholds, budget), dict(fitted.weights)) for budget in BUDGETS},
        {budget: _entropy_gate(raw, budget) for budget in BUDGETS},
        dict(fitted.turn_thresholds).get(0.2, NEVER),
        sum(len(example) for example in known) / len(known),
        fitted.note,
    )
    readings = [reading("replies", _scores(fitted.weights, parts[2]), parts[2])]
    if texts:
        readings.append(_on_texts(engine, order, texts, fitted.weights, say))
    return density, tuple(readings)


def _on_texts(
    engine: LocalEngine, order: Order, texts: Sequence[Passage], weights: Mapping[str, float], say: Say
) -> Reading:
    """The same scores on texts nobody wrote here, and what a density fitted on such texts would catch."""
    say(f"reading {len(texts)} passages")
    parts = [read_texts(engine, part, order.tiers[0], order.tiers[-1]) for part in split(texts, SHARES)]
    if not all(parts):
        raise AgentError("Too few passages to split into fitting, choosing and holding out")
    scores = _scores(weights, parts[2])
    own = fit_density(parts[0], parts[1], parts[2])
    signals = ", ".join(name for name in own.weights if name != "bias")
    scores[f"density fitted on texts ({signals})"] = [score(example.features, own.weights) for example in parts[2]]
    return reading("texts", scores, parts[2])


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


def _differences(
    engine: LocalEngine,
    plans: Sequence[Policy],
    held: Sequence[Prompt],
    trials: Sequence[Trial],
    order: Order,
    say: Say,
) -> tuple[Difference, ...]:
    """The control run of every exact reply that is not the highest tier's own."""
    top = order.tiers[-1]
    by = {(trial.policy, trial.prompt): trial for trial in trials}
    found = []
    for policy in [plan for plan in plans if plan.kind == "speculative"]:
        for number, prompt in enumerate(held):
            own, other = by[top, number], by[policy.name, number]
            if own.tokens == other.tokens:
                continue
            say(f"control run: {policy.name}, prompt {number + 1}")
            begin = beginning(engine, prompt)
            request = policy.request(prompt.messages, begin, order.sampling, order.tokens)
            difference = explain(engine.ladder, policy, top, request, own, other)
            found += [difference] if difference else []
    return tuple(found)


def _policies(order: Order, density: _Density) -> list[Policy]:
    draft = Gate(DRAFT_DOUBT, dict(density.weights))
    found = policies(order.tiers, density.gates, density.entropy, draft, density.turn_threshold, density.length)
    return [policy for policy in found if not order.kinds or policy.kind in ("static", *order.kinds)]


def _entropy_gate(raw: Sequence[Scores], budget: float) -> Gate:
    edge = threshold_for([1.0 - np.exp(-values) for values in raw], budget)
    entropy = -np.log(max(1.0 - edge, 1e-9)) if edge < 1 else 50.0
    return Gate(0.5, {"bias": float(-ENTROPY_SCALE * entropy), "entropy": ENTROPY_SCALE})


def _scores(weights: Mapping[str, float], unseen: Sequence[Example]) -> dict[str, list[Scores]]:
    rng = np.random.default_rng(0)
    entropy = SIGNALS.index("entropy")
    return {
        "density (fitted)": [score(example.features, weights) for example in unseen],
        "margin (default rule)": [-example.features[:, SIGNALS.index("margin")] for example in unseen],
        "entropy": [example.features[:, entropy] for example in unseen],
        "top-1 probability": [-example.features[:, SIGNALS.index("p_best")] for example in unseen],
        "random": [rng.random(len(example)) for example in unseen],
        "oracle": [example.forks.astype(np.float64) for example in unseen],
    }


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
