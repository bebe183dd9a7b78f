from __future__ import annotations

import numpy as np
import pytest

from agent.calibrate.collect import write
from agent.density.labels import example, features_of
from agent.density.select import stacked
from backends.gate import SIGNALS, Tracker
from backends.signals import measure
from backends.types import Gate, Message, Request, Sampling
from tests.agent.toy_engine import ToyEngine

TALK = (Message("user", "abcdefgh" * 4),)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
def test_replayed_signals_are_those_the_gate_saw(sampling):
    engine = ToyEngine()
    reply = write(engine, Request(TALK, "4-bit", sampling=sampling, max_tokens=30))
    rows = features_of(reply.steps)
    # The truth: a tracker fed with the model's own logits.
    stepper = engine.ladder.reader("4-bit").stepper
    tracker = Tracker(Gate(), lambda token: stepper.piece(token).decode("utf-8", "replace"))
    text = list(stepper.chat_prompt(TALK))
    for step, row in zip(reply.steps, rows, strict=True):
        signals = measure(stepper.logits_after(text))
        expected = tracker.signals(signals)
        assert dict(zip(SIGNALS, row, strict=True)) == pytest.approx(expected, abs=1e-4)
        tracker.wrote(step.token, signals)
        text.append(step.token)


def test_a_fork_is_where_the_high_tier_would_have_chosen_otherwise():
    engine = ToyEngine({"4-bit": 0.8, "16-bit": 0.0})
    reply = write(engine, Request(TALK, "4-bit", max_tokens=60))
    reading = engine.score(TALK, [step.token for step in reply.steps], "16-bit", "4-bit")
    found = example(reply.steps, reading)
    assert found.forks.tolist() == [j.best != j.token for j in reading.judgements]
    assert 0 < found.forks.sum() < len(found)
    assert (found.kl > 0).all()
    features, labels = stacked([found, found])
    assert features.shape == (2 * len(found), len(SIGNALS)) and len(labels) == 2 * len(found)


def test_a_sampled_token_is_not_a_fork_when_both_tiers_prefer_the_same_one():
    engine = ToyEngine({"4-bit": 0.0, "16-bit": 0.0})
    reply = write(engine, Request(TALK, "4-bit", sampling=Sampling(temperature=1.5, seed=1), max_tokens=60))
    assert any(step.token != step.alternatives[0].token for step in reply.steps)
    reading = engine.score(TALK, [step.token for step in reply.steps], "16-bit", "4-bit")
    assert not example(reply.steps, reading).forks.any()
    assert np.allclose(example(reply.steps, reading).kl, 0.0, atol=1e-6)
