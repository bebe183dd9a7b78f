from __future__ import annotations

from pathlib import Path

import pytest

from agent.measure.speed import Effort, measure_speed
from backends.errors import BackendError
from backends.scripted import HOST_DIED, Script, ScriptedEngine
from backends.types import LadderSpec, TierSpec

SPEC = LadderSpec((TierSpec("4-bit", Path("low")), TierSpec("16-bit", Path("high"))), threads=2)


class SlowLoop:
    """A bare loop that takes a second a token."""

    closed = 0

    def prefill(self, tokens):
        return float(len(tokens))

    def decode(self, steps):
        return float(steps)

    def decode_together(self, width, steps):
        return float(steps) * (1 + width)

    def cut(self, length):
        pass

    def close(self):
        SlowLoop.closed += 1


def test_every_tier_is_measured_beside_the_bare_loop():
    SlowLoop.closed = 0
    engine = ScriptedEngine([Script("one two three four five six seven", continuations=("a b c",) * 3)] * 200)
    effort = Effort(tokens=6, pairs=3, read=64, reads=2, branches=2)
    report = measure_speed(engine, SPEC, "toy", lambda tier, ladder: SlowLoop(), effort)
    assert [tier.name for tier in report.tiers] == ["4-bit", "16-bit"]
    for tier in report.tiers:
        assert tier.decode.bare == pytest.approx(1.0)
        assert tier.decode.ratio.value == pytest.approx(tier.decode.fovea, rel=1e-6)
        assert tier.bare_four.value == pytest.approx(5 / 2) and tier.four.value > 0
        assert tier.decode.pairs == 3 and tier.prefill.pairs == 2
    assert SlowLoop.closed == 2


def test_a_failing_engine_is_one_clear_error_and_the_loop_is_closed():
    SlowLoop.closed = 0
    engine = ScriptedEngine([Script("one two", fail_after=1)] * 10)
    with pytest.raises(BackendError, match=HOST_DIED.text):
        measure_speed(engine, SPEC, "toy", lambda tier, ladder: SlowLoop(), Effort())
    assert SlowLoop.closed == 1
