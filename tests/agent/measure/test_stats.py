from __future__ import annotations

import numpy as np
import pytest

from agent.measure.stats import auroc, bootstrap, mean, paired_ratio, share


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(40):
        found = mean(rng.normal(3.0, 1.0, 40).tolist())
        hits += found.low <= 3.0 <= found.high
    assert 33 <= hits <= 40


def test_drift_that_falls_on_both_of_a_pair_cancels():
    speeds = [10.0, 5.0, 2.0, 8.0]
    found = paired_ratio([0.9 * speed for speed in speeds], speeds)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.9, 0.9))


def test_a_share_weighs_prompts_by_their_tokens():
    assert share([1, 0], [10, 90]).value == pytest.approx(0.01)


def test_auroc_is_the_chance_of_the_right_order():
    scores, labels = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])
    pairs = [(p, n) for p in (0.4, 0.9) for n in (0.1, 0.4)]
    expected = np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs])
    assert auroc(scores, labels) == pytest.approx(expected)
    assert np.isnan(auroc(scores, np.ones(4, bool)))


def test_one_row_has_no_interval_and_nan_draws_are_left_out():
    assert bootstrap([4.0], lambda at: 4.0).high == 4.0
    rows = np.array([0.0, 1.0, 1.0])
    found = bootstrap(rows, lambda at: 1.0 / rows[at].sum() if rows[at].sum() else float("nan"))
    assert np.isfinite(found.high)
