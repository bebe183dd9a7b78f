"""The test double keeps the port's promises, so that what is tested with it holds for engines."""

from __future__ import annotations

import pytest

from backends.engine import Engine
from backends.errors import HostError, LoadError
from backends.scripted import Script, ScriptedEngine, Word
from backends.types import (
    FOUR,
    SIXTEEN,
    Decoder,
    Done,
    Failed,
    Gate,
    LadderSpec,
    Message,
    Notice,
    Prefill,
    Request,
    Step,
    Why,
)

ASK = (Message("user", "How many?"),)


def loaded(*scripts, **options) -> ScriptedEngine:
    engine = ScriptedEngine(scripts, **options)
    engine.load(LadderSpec(()))
    return engine


def kinds(events):
    return [type(event) for event in events]


def test_it_is_an_engine():
    engine: Engine = loaded("x")
    assert engine.status().loaded() == [FOUR, "8-bit", SIXTEEN]


def test_the_events_come_in_the_promised_order():
    events = list(loaded(Script("one two", notices=["n"])).run(Request(ASK, FOUR)))
    assert [k for k in kinds(events) if k is not Notice] == [Prefill, Prefill, Step, Step, Done]
    assert events[-1].usage.completion_tokens == 2


def test_a_prefix_goes_on_with_the_script_that_began():
    engine = loaded(Script("one two three", fail_after=1), "other")
    events = list(engine.run(Request(ASK, FOUR)))
    assert isinstance(events[-1], Failed)
    prefix = tuple(e.token for e in events if isinstance(e, Step))
    engine._begun[ASK] = Script("one two three")
    rest = [e.text for e in engine.run(Request(ASK, FOUR, prefix=prefix)) if isinstance(e, Step)]
    assert rest == [" two", " three"]


def test_a_limit_and_a_cancel_end_a_reply():
    engine = loaded(Script("one two three"), Script("one two three"))
    assert list(engine.run(Request(ASK, FOUR, max_tokens=2)))[-1].reason == "length"
    events = []
    for event in engine.run(Request(ASK, FOUR)):
        events.append(event)
        if isinstance(event, Step):
            engine.cancel()
    assert events[-1].reason == "cancelled" and kinds(events).count(Step) == 1


def test_the_gate_overrules_and_confirms():
    script = Script([Word("a"), Word("b", density=0.6, high="B"), Word("c", density=0.6)])
    request = Request(ASK, FOUR, Decoder.GATED, high=SIXTEEN, gate=Gate(threshold=0.5))
    steps = [e for e in loaded(script).run(request) if isinstance(e, Step)]
    assert [(s.text, s.why) for s in steps] == [("a", Why.SPOKE), ("B", Why.OVERRULED), ("c", Why.CONFIRMED)]


def test_forks_are_where_the_tier_would_have_differed():
    engine = loaded(Script("two legs", by_tier={SIXTEEN: "two eggs"}))
    tokens = [e.token for e in engine.run(Request(ASK, FOUR)) if isinstance(e, Step)]
    assert engine.score(ASK, tokens, SIXTEEN).forks() == [1]
    assert engine.score(ASK, tokens, FOUR).forks() == []


def test_waiting_goes_through_the_given_function():
    waited: list[float] = []
    list(loaded(Script("one two", prefill_s=2, token_s=0.5), wait=waited.append).run(Request(ASK, FOUR)))
    assert waited == [2, 0.5, 0.5]


def test_tiers_that_fail_are_named():
    engine = ScriptedEngine(problems={SIXTEEN: "no memory"})
    assert engine.load(LadderSpec(())).loaded() == [FOUR, "8-bit"]
    with pytest.raises(LoadError, match="no memory"):
        ScriptedEngine(tiers=[SIXTEEN], problems={SIXTEEN: "no memory"}).load(LadderSpec(()))
    with pytest.raises(HostError):
        ScriptedEngine().status()
