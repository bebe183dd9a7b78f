from __future__ import annotations

import numpy as np
import pytest

from agent.density.thresholds import NEVER, interpolated, spent, threshold_for


def played(scores, threshold, first, max_pending):
    """The gate, token by token: what the high tier has not read is pending, the token it chose itself among it."""
    high = every = 0
    for reply in scores:
        pending = 1  # the last token of the prompt, unless the high tier has read it all
        for at, density in enumerate(reply):
            every += 1
            if (first and at == 0) or density >= threshold or pending >= max_pending:
                high += 1
                pending = 0
            pending += 1
    return high / every


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("max_pending", [1, 3, 64])
def test_spending_is_what_the_gate_would_spend(first, max_pending):
    rng = np.random.default_rng(0)
    scores = [rng.random(length) for length in (1, 5, 40, 200)]
    for threshold in (0.0, 0.3, 0.9, 0.99, NEVER):
        expected = played(scores, threshold, first, max_pending)
        assert spent(scores, threshold, first=first, max_pending=max_pending) == pytest.approx(expected)


@pytest.mark.parametrize("budget", [0.05, 0.1, 0.2, 0.3, 0.5])
def test_the_threshold_spends_the_budget(budget):
    rng = np.random.default_rng(1)
    scores = [rng.random(60) for _ in range(30)]
    threshold = threshold_for(scores, budget)
    assert spent(scores, threshold, first=True) == pytest.approx(budget, abs=0.01)


def test_a_budget_smaller_than_the_first_tokens_closes_the_gate():
    scores = [np.random.default_rng(2).random(10) for _ in range(5)]
    assert spent(scores, threshold_for(scores, 0.05), first=True) == pytest.approx(0.1)


def test_between_measured_budgets_the_threshold_is_between_them():
    pairs = [(0.1, 0.2), (0.2, 0.05)]
    assert 0.05 < interpolated(pairs, 0.15) < 0.2
    assert interpolated(pairs, 0.05) > 0.2
    assert interpolated(pairs, 0.9) == pytest.approx(0.05)
    assert interpolated(pairs, 0.0) == NEVER
    assert interpolated(pairs, 1.0) == 0.0
    assert interpolated([], 0.2) == NEVER
