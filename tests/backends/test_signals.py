from __future__ import annotations

import math

import numpy as np
import pytest

from backends.signals import divergence, measure


def _softmax(x):
    p = np.exp(x.astype(np.float64) - x.max())
    return p / p.sum()


@pytest.mark.parametrize("seed", range(5))
def test_signals_equal_the_textbook_formulas(seed):
    logits = np.random.default_rng(seed).normal(size=1000).astype(np.float32) * 3
    p = _softmax(logits)
    order = np.argsort(-p)
    signals = measure(logits)
    assert (signals.best, signals.second) == tuple(order[:2])
    assert signals.entropy == pytest.approx(-(p * np.log(p)).sum(), rel=1e-4)
    assert signals.margin == pytest.approx(math.log(p[order[0]] / p[order[1]]), abs=1e-4)
    assert math.exp(signals.log_best) == pytest.approx(p.max(), rel=1e-4)
    assert signals.p(int(order[7])) == pytest.approx(p[order[7]], rel=1e-4)


def test_measuring_leaves_the_row_alone():
    logits = np.random.default_rng(0).normal(size=64).astype(np.float32)
    before = logits.copy()
    measure(logits)
    np.testing.assert_array_equal(logits, before)


def test_banned_tokens_do_not_make_nan():
    logits = np.full(10, -np.inf, np.float32)
    logits[3], logits[4] = 1.0, 0.0
    signals = measure(logits)
    assert signals.best == 3
    assert signals.margin == pytest.approx(1.0)
    assert math.isfinite(signals.entropy)


def test_top_lists_best_first_and_only_what_is_near():
    logits = np.array([0.1, 5.0, 4.0, -20.0, 4.5], np.float32)
    assert measure(logits).top(10) == [1, 4, 2, 0]
    assert measure(logits).top(2) == [1, 4]


def test_divergence_is_zero_for_equal_and_matches_the_formula():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=200).astype(np.float32) for _ in range(2))
    p, q = _softmax(a), _softmax(b)
    assert divergence(measure(a), measure(a)) == pytest.approx(0.0, abs=1e-6)
    assert divergence(measure(a), measure(b)) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-3)
