from __future__ import annotations

import numpy as np
import pytest

from backends.gate import DEFAULT_WEIGHTS, SIGNALS, Tracker
from backends.signals import measure
from backends.types import Gate

TEXTS = {0: " not", 1: "42", 2: " Paris", 3: ".", 4: " word", 5: "x=", 6: "\n"}


def _tracker(**weights):
    return Tracker(Gate(weights=weights), lambda token: TEXTS.get(token, "?"))


def _row(best, margin):
    logits = np.zeros(7, np.float32)
    logits[best] = 5.0
    logits[(best + 1) % 7] = 5.0 - margin
    return measure(logits)


def test_the_default_rule_is_the_margin_alone():
    tracker = _tracker()
    assert tracker.density(_row(0, 0.0)) == pytest.approx(0.5)
    falling = [tracker.density(_row(0, margin)) for margin in (0.0, 0.05, 0.1, 0.5, 3.0)]
    assert falling == sorted(falling, reverse=True)
    assert set(DEFAULT_WEIGHTS) == {"bias", "margin"}


def test_every_named_signal_is_computed():
    assert set(_tracker().signals(_row(1, 0.2))) == set(SIGNALS)


@pytest.mark.parametrize(
    ("token", "kind"), [(0, "negation"), (1, "digit"), (2, "name"), (5, "code"), (4, "word_start")]
)
def test_kinds_of_tokens(token, kind):
    values = _tracker().signals(_row(token, 0.3))
    assert values[kind] == 1.0


def test_history_signals_follow_the_text():
    tracker = _tracker()
    assert tracker.signals(_row(4, 1.0))["sentence_start"] == 1.0
    tracker.wrote(4, _row(4, 1.0))
    assert tracker.signals(_row(4, 1.0))["sentence_start"] == 0.0
    tracker.wrote(3, _row(4, 1.0))
    after = tracker.signals(_row(4, 1.0))
    assert after["sentence_start"] == 1.0
    assert after["surprise"] > 0.5
    assert after["position"] == pytest.approx(np.log(3))


def test_weights_are_a_logistic_model_over_signals():
    tracker = _tracker(bias=-1.0, digit=3.0)
    assert tracker.density(_row(1, 0.3)) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert tracker.density(_row(4, 0.3)) == pytest.approx(1 / (1 + np.exp(1.0)))
