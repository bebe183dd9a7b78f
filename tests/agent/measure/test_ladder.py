from __future__ import annotations

from pathlib import Path

import pytest

from agent.measure import figures as kept
from agent.measure.figures import TierFigures
from agent.measure.ladder import Effort, measure_ladder
from backends.types import LadderSpec, TierSpec
from tests.backends.toy_stepper import ToyStepper

SPEC = LadderSpec((TierSpec("4-bit", Path("low")), TierSpec("16-bit", Path("high"))), ctx=100, threads=1)


def toys(**options):
    opened = []

    def opener(tier, spec):
        noise = 0.6 if tier.name == "4-bit" else 0.0
        key = options.get("keys", {}).get(tier.name, "toy")
        stepper = ToyStepper(seed=1, noise=noise, ctx=spec.ctx, cache_key=key, can_truncate=options.get("cut", True))
        opened.append(stepper)
        return stepper

    return opener, opened


def test_figures_of_a_ladder_with_a_handover():
    opener, opened = toys()
    found = measure_ladder(SPEC, opener, "abc", Effort(tokens=60, steps=4, repeats=2))
    (given,) = found.handovers
    assert (given.low, given.high, given.tokens) == ("4-bit", "16-bit", 60)  # one prompt fills the context
    # A table looks at the text alone, so a handed-over cache is as good as an own one, while the tiers differ.
    assert given.kl_up == pytest.approx(0.0, abs=1e-9)
    assert given.kl_down == pytest.approx(given.kl_low) and given.kl_low > 0
    assert given.first_token_s >= given.seconds > 0
    assert set(found.tiers) == {"4-bit", "16-bit"}
    assert all(stepper.sequences() == 0 for stepper in opened)  # closed


def test_tiers_that_cannot_share_a_cache_are_measured_alone():
    opener, _ = toys(keys={"4-bit": "one", "16-bit": "other"})
    said: list[str] = []
    found = measure_ladder(SPEC, opener, "abc", Effort(tokens=40, steps=2, repeats=1), said.append)
    assert found.handovers == ()
    assert any("cannot share" in line for line in said)


def test_figures_are_kept_for_this_machine_and_model_only(tmp_path, monkeypatch):
    opener, _ = toys()
    found = measure_ladder(SPEC, opener, "abc", Effort(tokens=40, steps=2, repeats=1))
    kept.save(tmp_path, found)
    assert kept.load(tmp_path, "abc") == found
    assert kept.load(tmp_path, "other") is None
    monkeypatch.setattr(kept, "machine_name", lambda: "another machine")
    assert kept.load(tmp_path, "abc") is None


def test_a_damaged_file_of_figures_is_not_used(tmp_path):
    path = kept.file_of(tmp_path, "abc")
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"model": 1}', "\x00"):
        path.write_text(text)
        assert kept.load(tmp_path, "abc") is None


def test_seconds_of_a_step_are_interpolated():
    tier = TierFigures(0, 100.0, 10.0, {1: 0.1, 4: 0.2, 8: 0.4})
    assert tier.step_s(1) == pytest.approx(0.1)
    assert tier.step_s(6) == pytest.approx(0.3)
    assert tier.step_s(16) == pytest.approx(0.8)
    assert TierFigures(0, 100.0, 10.0).step_s(3) == pytest.approx(0.3)


def test_the_high_tier_reads_unless_it_is_much_slower():
    def with_speed(high):
        return kept.LadderFigures(
            "abc", "m", 1, "2026-01-01", {"4-bit": TierFigures(0, 100, 1), "16-bit": TierFigures(0, high, 1)}
        )

    assert with_speed(80.0).reads_high("4-bit", "16-bit") is True
    assert with_speed(20.0).reads_high("4-bit", "16-bit") is False
    assert with_speed(20.0).reads_high("4-bit", "8-bit") is None
