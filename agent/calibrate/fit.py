"""From examples to a calibration: choose signals, fit, set thresholds, and say what held-out prompts show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.density.calibration import HeldOut, SignalTried
from agent.density.labels import Example, by_prompt
from agent.density.model import Scores, caught, fit, score
from agent.density.select import BASELINE, BUDGETS, Selection, gain_of, select, stacked
from agent.density.thresholds import BUDGETS as STORED
from agent.density.thresholds import spent, threshold_for
from agent.measure.stats import Estimate, auroc, bootstrap
from backends.gate import DEFAULT_WEIGHTS


@dataclass(frozen=True, slots=True)
class Fitted:
    """A density model and what it is worth."""

    weights: dict[str, float]
    thresholds: tuple[tuple[float, float], ...]
    turn_thresholds: tuple[tuple[float, float], ...]
    held_out: HeldOut
    tried: tuple[SignalTried, ...]
    note: str


def fit_density(train: Sequence[Example], choose: Sequence[Example], held_out: Sequence[Example]) -> Fitted:
    """Fit on ``train``, choose signals and thresholds on ``choose``, report on ``held_out``.

    A choice of signals that held-out prompts do not confirm is dropped for the margin alone: the best of a dozen tries
    looks good by luck. Thresholds come from the first reply to each prompt: the others were drawn at another
    temperature, and a budget is meant for replies as they are really written; ``budgets`` makes them better.
    """
    selection = select(train, choose)
    everything = stacked([*train, *choose])
    weights = fit(*everything, selection.signals)
    note = selection.note
    if len(selection.signals) > 1:
        alone = fit(*everything, (BASELINE,))
        ours, theirs = ([score(example.features, each) for example in held_out] for each in (weights, alone))
        gain = gain_of(held_out, ours, theirs)
        if gain.low <= 0:
            names = ", ".join(selection.signals[1:])
            note = (
                f"{names} looked better, but not on the held-out prompts ({gain.percent()}): the margin alone is used"
            )
            weights, selection = alone, Selection((BASELINE,), selection.tried)
    known = [*first_replies(train), *first_replies(choose)]
    scores = [score(example.features, weights) for example in known]
    return Fitted(
        weights=weights,
        thresholds=tuple((budget, threshold_for(scores, budget)) for budget in STORED),
        turn_thresholds=_turns(scores),
        held_out=report(held_out, weights, scores),
        tried=tuple(
            SignalTried(
                t.signal, t.gain.value, t.gain.low, t.gain.high, t.kept and t.signal in selection.signals
            )
            for t in selection.tried
        ),
        note=note,
    )  # fmt: skip


def first_replies(examples: Sequence[Example]) -> list[Example]:
    """Of the replies to one prompt only the first; the others were drawn at another temperature."""
    seen: set[int] = set()
    found = []
    for example in examples:
        if example.prompt < 0 or example.prompt not in seen:
            found.append(example)
            seen.add(example.prompt)
    return found


def report(examples: Sequence[Example], weights: dict[str, float], known: Sequence[Scores]) -> HeldOut:
    """Held-out figures of a density model whose thresholds come from ``known`` scores."""
    scores = [score(example.features, weights) for example in examples]
    default = [score(example.features, dict(DEFAULT_WEIGHTS)) for example in examples]
    forks = [example.forks for example in examples]
    firsts = [score(example.features, weights) for example in first_replies(examples)]
    played = {f"{b:.0%}": spent(firsts, threshold_for(known, b), first=True) for b in BUDGETS}
    labels = np.concatenate(forks)
    return HeldOut(
        prompts=len(by_prompt(examples, forks)),
        tokens=len(labels),
        forks=int(labels.sum()),
        auroc=auroc(np.concatenate(scores), labels),
        caught={f"{b:.0%}": _triple(caught_estimate(examples, scores, b)) for b in BUDGETS},
        caught_default={f"{b:.0%}": _triple(caught_estimate(examples, default, b)) for b in BUDGETS},
        spent=played,
    )


def caught_estimate(examples: Sequence[Example], scores: Sequence[Scores], budget: float) -> Estimate:
    """Share of forks caught at a budget, resampled over prompts."""
    forks, scores = by_prompt(examples, [example.forks for example in examples]), by_prompt(examples, scores)
    return bootstrap(
        forks,
        lambda at: caught(np.concatenate([scores[i] for i in at]), np.concatenate([forks[i] for i in at]), budget),
        draws=500,
    )


def _turns(scores: Sequence[Scores]) -> tuple[tuple[float, float], ...]:
    """Mean density from which on a reply is among the densest share of turns."""
    means = np.asarray([float(reply.mean()) for reply in scores if len(reply)])
    if len(means) < 4:
        return ()
    return tuple((budget, float(np.quantile(means, 1 - budget))) for budget in (0.05, 0.1, 0.2, 0.3, 0.5))


def _triple(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
