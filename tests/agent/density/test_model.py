from __future__ import annotations

import numpy as np
import pytest

from agent.density.model import caught, fit, regress, score, sigmoid
from backends.gate import SIGNALS, Tracker
from backends.signals import measure
from backends.types import Gate


def table(n=20_000, seed=0):
    """Random signals; forks depend on the margin and on being a digit."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(SIGNALS)))
    features[:, SIGNALS.index("margin")] = rng.exponential(1.0, n)
    features[:, SIGNALS.index("digit")] = rng.random(n) < 0.2
    truth = {"bias": -1.0, "margin": -3.0, "digit": 1.5}
    labels = rng.random(n) < score(features, truth)
    return features, labels, truth


def test_the_fit_finds_the_weights_that_made_the_labels():
    features, labels, truth = table()
    found = fit(features, labels, ["margin", "digit"])
    assert found == pytest.approx(truth, rel=0.15)


def test_a_useless_signal_gets_almost_no_weight():
    features, labels, _ = table()
    assert abs(fit(features, labels, ["margin", "entropy"])["entropy"]) < 0.1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_labels_that_are_all_equal_do_not_break_the_fit(share):
    features = np.random.default_rng(1).normal(size=(50, 2))
    weights = regress(features, np.full(50, bool(share)))
    assert np.isfinite(weights).all()
    assert sigmoid(weights[:1])[0] == pytest.approx(share, abs=0.01)


def test_perfectly_separable_labels_stay_finite():
    features = np.linspace(-1, 1, 40)[:, None]
    weights = regress(features, features[:, 0] > 0)
    assert np.isfinite(weights).all() and weights[1] > 1


def test_the_engine_computes_the_fitted_density():
    weights = {"bias": 0.3, "margin": -2.0, "entropy": 0.4, "digit": 0.7, "position": -0.1}
    signals = measure(np.random.default_rng(2).normal(size=100).astype(np.float32))
    tracker = Tracker(Gate(weights=weights), lambda token: str(token))
    values = tracker.signals(signals)
    row = np.array([[values[name] for name in SIGNALS]])
    assert tracker.density(signals) == pytest.approx(score(row, weights)[0])


def test_caught_counts_forks_among_the_densest():
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    labels = np.array([True, False, True, True])
    assert caught(scores, labels, 0.25) == pytest.approx(1 / 3)
    assert caught(scores, labels, 0.75) == pytest.approx(2 / 3)
    assert np.isnan(caught(scores, np.zeros(4, bool), 0.5))


def test_ties_are_not_flattered_by_their_order():
    scores, labels = np.zeros(10), np.arange(10) < 2
    assert caught(scores, labels, 0.2) == pytest.approx(0.2)
    assert caught(scores, labels[::-1], 0.2) == pytest.approx(0.2)
