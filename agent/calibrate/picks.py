"""Labels from people: where a tier stood beside another one and the person picked, what did the low reply look like?

Fits how likely the person is to prefer the high tier's reply, from the features the pick was stored with. It decides
which replies a closer look is *proposed* for; the gate inside a reply has its own model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.density.model import regress, sigmoid
from agent.errors import AgentError
from agent.measure.stats import Estimate, auroc, bootstrap
from agent.values import Pick

FEATURES = ("density_mean", "density_max", "margin_p10", "entropy_mean", "tokens")
"""Features of the low tier's reply (``agent.branches.features``) that are used."""
ENOUGH = 20
"""Picks between these two tiers below which nothing is fitted."""
_RIDGE = 2.0


@dataclass(frozen=True, slots=True)
class Preference:
    """A fitted preference."""

    weights: dict[str, float]
    picks: int
    won: int
    """How often the high tier's reply was picked."""
    auroc: Estimate
    """Leave-one-out."""


def fit_picks(picks: Sequence[Pick], low: str, high: str, *, blind_only: bool = False) -> Preference:
    """Fit on picks that had both tiers.

    Raises:
        AgentError: there are too few, or all went the same way.
    """
    rows, labels = _table(picks, low, high, blind_only)
    won = int(labels.sum())
    kind = "blind picks" if blind_only else "picks"
    if len(labels) < ENOUGH or won in (0, len(labels)):
        raise AgentError(
            f"There are {len(labels)} {kind} between {low} and {high}, {won} of them for {high}: at least {ENOUGH}, "
            "some for each, are needed. `/compare` and `/blind on` in the chat collect them"
        )
    weights = regress(rows, labels, _RIDGE)
    guesses = np.asarray([_out_of_sample(rows, labels, at) for at in range(len(labels))])
    area = bootstrap(labels, lambda at: auroc(guesses[at], labels[at]))
    return Preference(dict(zip(("bias", *FEATURES), weights.tolist(), strict=True)), len(labels), won, area)


def preference(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    """How likely the person is to prefer the high tier where the low tier's reply has these features (0..1)."""
    total = weights.get("bias", 0.0) + sum(weights.get(name, 0.0) * features.get(name, 0.0) for name in FEATURES)
    return float(sigmoid(np.asarray([total]))[0])


def _table(picks: Sequence[Pick], low: str, high: str, blind_only: bool) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = [], []
    for pick in picks:
        if blind_only and not pick.blind:
            continue
        below = next((c for c in pick.candidates if c.get("tier") == low), None)
        above = {c.get("node") for c in pick.candidates if c.get("tier") == high}
        if below is None or not above:
            continue
        features = below.get("features") or {}
        rows.append([float(features.get(name, 0.0)) for name in FEATURES])
        labels.append(pick.chosen in above)
    return np.asarray(rows, np.float64).reshape(-1, len(FEATURES)), np.asarray(labels, bool)


def _out_of_sample(rows: np.ndarray, labels: np.ndarray, at: int) -> float:
    others = np.arange(len(labels)) != at
    weights = regress(rows[others], labels[others], _RIDGE)
    return float(weights[0] + rows[at] @ weights[1:])
