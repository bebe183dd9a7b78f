from __future__ import annotations

import numpy as np

from agent.calibrate.fit import fit_density
from agent.density.labels import Example
from agent.density.model import score
from agent.density.select import select
from backends.gate import SIGNALS


def replies(count, truth, seed, tokens=100):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        features = rng.normal(size=(tokens, len(SIGNALS)))
        features[:, SIGNALS.index("margin")] = rng.exponential(1.0, tokens)
        features[:, SIGNALS.index("code")] = rng.random(tokens) < 0.3
        forks = rng.random(tokens) < score(features, truth)
        found.append(Example(features, forks, np.zeros(tokens)))
    return found


def test_the_margin_stays_alone_when_nothing_else_tells_anything():
    truth = {"bias": 0.0, "margin": -8.0}
    found = fit_density(replies(40, truth, 0), replies(20, truth, 1), replies(20, truth, 2))
    assert set(found.weights) == {"bias", "margin"}
    assert found.tried and not any(tried.kept for tried in found.tried)


def test_a_signal_that_tells_something_is_kept_with_its_interval():
    truth = {"bias": -1.0, "margin": -4.0, "code": 3.0}
    found = fit_density(replies(60, truth, 3), replies(40, truth, 4), replies(40, truth, 5))
    assert "code" in found.weights and found.weights["code"] > 1
    kept = next(tried for tried in found.tried if tried.signal == "code")
    assert kept.kept and kept.low > 0
    assert found.held_out.caught["10%"][0] > found.held_out.caught_default["10%"][0]


def test_too_few_forks_to_judge_by_is_said():
    truth = {"bias": -9.0, "margin": -1.0}
    found = select(replies(10, truth, 6), replies(10, truth, 7))
    assert found.signals == ("margin",) and "fewer than" in found.note


def test_the_played_spending_is_near_the_budget():
    truth = {"bias": 0.0, "margin": -6.0}
    found = fit_density(replies(40, truth, 8), replies(20, truth, 9), replies(30, truth, 10))
    for name, spent in found.held_out.spent.items():
        assert abs(spent - float(name.rstrip("%")) / 100) < 0.02
