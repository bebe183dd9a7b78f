from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from backends.sampling import choose, distribution, draw, uniform
from backends.stepper import Logits
from backends.types import Sampling


def plain_distribution(logits: Logits, sampling: Sampling) -> np.ndarray:
    """The definition, step by step over the whole vocabulary."""
    p = np.exp((logits.astype(np.float64) - float(logits.max())) / sampling.temperature)
    if 0 < sampling.top_k < len(p):
        p[p < np.sort(p)[-sampling.top_k]] = 0.0
    p /= p.sum()
    if sampling.top_p < 1.0:
        order = np.argsort(-p, kind="stable")
        p[order[int(np.searchsorted(np.cumsum(p[order]), sampling.top_p)) + 1 :]] = 0.0
    p[p < sampling.min_p * p.max()] = 0.0
    return p / p.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    list(product((0.3, 1.0, 1.7), (0, 1, 40), (0.2, 0.95, 1.0), (0.0, 0.05))),
)
def test_the_short_cut_gives_the_defined_distribution(temperature, top_k, top_p, min_p):
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    rng = np.random.default_rng(7)
    for spread in (0.1, 1.0, 4.0):
        logits = (spread * rng.standard_normal(500)).astype(np.float32)
        np.testing.assert_allclose(distribution(logits, sampling), plain_distribution(logits, sampling), atol=1e-12)


def test_a_token_is_the_quantile_of_its_distribution():
    logits = np.random.default_rng(3).standard_normal(200).astype(np.float32)
    sampling = Sampling(temperature=0.8, top_k=20, top_p=0.9, seed=5)
    for position in range(50):
        token, _ = choose(logits, sampling, [], (0, position))
        assert token == draw(distribution(logits, sampling), float(uniform(5, 0, position)[0]))


def test_nearly_flat_logits_keep_a_nucleus():
    logits = np.zeros(1000, np.float32)
    p = distribution(logits, Sampling(temperature=1.0, top_p=0.5))
    assert 499 <= np.count_nonzero(p) <= 502
    assert p.sum() == pytest.approx(1.0)


def test_a_window_of_no_tokens_penalises_none():
    logits = np.array([2.0, 1.9, 0.0], np.float32)
    for window, expected in ((0, 0), (1, 0), (2, 1)):
        sampling = Sampling(repetition_penalty=2.0, repetition_window=window)
        assert choose(logits, sampling, [0, 2], (0, 2))[0] == expected


@pytest.mark.parametrize(
    "extreme",
    [{"top_p": 1e-30, "top_k": 1}, {"top_p": 1e-30}, {"repetition_penalty": 1e-40}, {"repetition_penalty": 1e-320}],
)
def test_extreme_settings_keep_the_best_token(extreme):
    logits = np.zeros(50, np.float32)
    logits[[7, 8]] = 3.0, 2.0
    p = distribution(logits, Sampling(temperature=1.0, **{"top_p": 0.9, **extreme}), recent=[7])
    assert p.argmax() == 7
    assert p.sum() == pytest.approx(1.0)
