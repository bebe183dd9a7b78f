from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backends.errors import BackendError, LoadError
from backends.ladder import Ladder
from backends.types import (
    Decoder,
    Done,
    Failed,
    Gate,
    LadderSpec,
    Message,
    Notice,
    Prefill,
    Request,
    Sampling,
    Step,
    TierSpec,
    Why,
)
from tests.backends.toy_stepper import ToyStepper

TALK = (Message("user", "defg" * 10),)
NAMES = ("4-bit", "8-bit", "16-bit")


def ladder(*, broken: tuple[str, ...] = (), names=NAMES, n_parallel=4, **options):
    steppers: dict[str, ToyStepper] = {}

    def opener(tier, spec):
        if tier.name in broken:
            raise LoadError("it is too big")
        noise = {"4-bit": 0.8, "8-bit": 0.2, "16-bit": 0.0}[tier.name]
        settings = {"seed": 3, "noise": noise, "tier_seed": 7, "end_bias": -50.0, "ctx": spec.ctx, **options}
        if "cache_key" in settings:
            settings["cache_key"] = settings["cache_key"](tier.name)
        steppers[tier.name] = ToyStepper(**settings)
        return steppers[tier.name]

    spec = LadderSpec(tuple(TierSpec(name, Path(name)) for name in names), ctx=512, n_parallel=n_parallel)
    return Ladder(spec, opener), steppers


def run(ladder, **order):
    events: list = []
    ladder.run(Request(**{"messages": TALK, "tier": "4-bit", "max_tokens": 20, **order}), events.append)
    return events


def tokens(events, seq=0):
    return [event.token for event in events if isinstance(event, Step) and event.seq == seq]


def test_a_new_turn_reads_only_what_is_new():
    lad, steppers = ladder()
    first = run(lad)
    reply = tuple(tokens(first))
    fed = steppers["4-bit"].fed
    longer = (*TALK, Message("assistant", "", reply), Message("user", "ab"))
    second = run(lad, messages=longer)
    done = second[-1]
    assert isinstance(done, Done)
    # New: the last token of the reply (never fed), the template around it and the new message.
    assert done.usage.prompt_tokens - done.usage.cached_tokens <= 8
    assert steppers["4-bit"].fed - fed <= 8 + 20
    assert isinstance(second[0], Prefill)


def test_a_resumed_reply_finds_no_more_of_its_prompt_than_there_is():
    lad, _ = ladder()
    reply = tuple(tokens(run(lad)))
    usage = run(lad, prefix=reply)[-1].usage
    assert 0 < usage.cached_tokens <= usage.prompt_tokens


@pytest.mark.parametrize(("low", "high"), [("4-bit", "16-bit"), ("4-bit", "8-bit"), ("8-bit", "16-bit")])
@pytest.mark.parametrize("read_high", [True, False, None])
def test_any_pair_of_tiers(low, high, read_high):
    lad, _ = ladder()
    alone = tokens(run(lad, tier=high))
    exact = run(lad, tier=low, high=high, decoder=Decoder.SPECULATIVE, gate=Gate(0.1), read_high=read_high)
    assert tokens(exact) == alone
    gated = run(lad, tier=low, high=high, decoder=Decoder.GATED, gate=Gate(0.0), read_high=read_high)
    assert tokens(gated) == alone
    assert gated[-1].decoder is Decoder.GATED


@pytest.mark.parametrize("decoder", [Decoder.GATED, Decoder.SPECULATIVE])
def test_a_reply_that_lost_its_high_tier_says_that_it_was_finished_plainly(decoder):
    lad, steppers = ladder()
    steppers["16-bit"].fail_after = 3
    events = run(lad, high="16-bit", decoder=decoder, gate=Gate(0.0))
    assert any(isinstance(event, Notice) and "The 16-bit tier failed" in event.text for event in events)
    assert (len(tokens(events)), events[-1].decoder) == (20, Decoder.PLAIN)


def test_reading_high_prefills_once():
    lad, steppers = ladder()
    run(lad, high="16-bit", decoder=Decoder.GATED, gate=Gate(2.0), read_high=True, max_tokens=4)
    assert steppers["4-bit"].fed <= 4
    assert steppers["16-bit"].fed == 42


def test_reading_low_and_handing_up_prefills_once():
    lad, steppers = ladder()
    run(lad, high="16-bit", decoder=Decoder.GATED, gate=Gate(2.0), read_high=False, max_tokens=4)
    assert steppers["16-bit"].fed == 0
    assert steppers["4-bit"].fed == 42 + 3


def test_tiers_that_cannot_share_a_cache_each_read():
    lad, steppers = ladder(cache_key=lambda name: name)
    alone = tokens(run(lad, tier="16-bit"))
    events = run(lad, high="16-bit", decoder=Decoder.SPECULATIVE, gate=Gate(0.1))
    assert tokens(events) == alone
    assert steppers["4-bit"].fed >= 42


def test_a_model_that_cannot_cut_its_cache_back_falls_back_and_says_so():
    lad, _ = ladder(can_truncate=False)
    events = run(lad, high="16-bit", decoder=Decoder.SPECULATIVE)
    assert any(isinstance(event, Notice) and "cannot take drafts back" in event.text for event in events)
    assert {event.tier for event in events if isinstance(event, Step)} == {"16-bit"}
    gated = run(lad, high="16-bit", decoder=Decoder.GATED, gate=Gate(0.1), read_high=False)
    assert isinstance(gated[-1], Done)
    assert len(tokens(gated)) == 20


def test_one_tier_only_works_and_says_that_nothing_can_be_escalated():
    lad, _ = ladder(names=("4-bit",))
    events = run(lad, high="16-bit", decoder=Decoder.GATED)
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "The 16-bit tier is not loaded; the reply is written at 4-bit alone."
    ]
    assert events[-1].decoder is Decoder.PLAIN


def test_a_tier_that_fails_to_load_is_dropped_with_one_line():
    lad, _ = ladder(broken=("16-bit",))
    status = lad.status()
    assert status.loaded() == ["4-bit", "8-bit"]
    assert status.notices == ("The 16-bit tier was not loaded: it is too big",)
    events = run(lad, tier="16-bit")
    assert isinstance(events[-1], Failed)
    assert "too big" in events[-1].text


def test_a_tier_of_another_model_is_left_out_with_one_line():
    def opener(tier, spec):
        stepper = ToyStepper()
        if tier.name == "16-bit":
            stepper.piece = lambda token: bytes([65 + token])
            stepper.close = lambda: closed.append(tier.name)
        return stepper

    closed: list[str] = []
    lad = Ladder(LadderSpec(tuple(TierSpec(name, Path(name)) for name in NAMES), ctx=512), opener)
    assert (lad.status().loaded(), closed) == (["4-bit", "8-bit"], ["16-bit"])
    (notice,) = lad.status().notices
    assert "vocabulary is not 4-bit's" in notice


def test_no_tier_at_all_is_an_error_that_names_each_reason_once():
    with pytest.raises(LoadError, match=r"^4-bit, 8-bit, 16-bit: it is too big$"):
        ladder(broken=NAMES)

    def opener(tier, spec):
        raise LoadError(f"{tier.name}.gguf is damaged.")

    with pytest.raises(LoadError, match=r"^4-bit: 4-bit\.gguf is damaged; 8-bit: 8-bit\.gguf is damaged$"):
        Ladder(LadderSpec(tuple(TierSpec(name, Path(name)) for name in NAMES[:2])), opener)


def test_a_reply_that_broke_off_is_read_again_by_a_model_that_cannot_cut_its_cache_back():
    lad, steppers = ladder(can_truncate=False)
    steppers["4-bit"].fail_after = 5
    assert isinstance(run(lad)[-1], Failed)
    steppers["4-bit"].fail_after = None
    longer = (*TALK, Message("assistant", "ab"), Message("user", "c"))
    assert isinstance(run(lad, messages=longer)[-1], Done)


def test_continuations_share_the_prompt_and_are_found_again():
    lad, steppers = ladder()
    events = run(lad, n=3, sampling=Sampling(temperature=1.0, seed=1))
    assert steppers["4-bit"].fed == 42 + 3 * 19
    assert len({tuple(tokens(events, i)) for i in range(3)}) == 3
    picked = (*TALK, Message("assistant", "", tuple(tokens(events, 1))), Message("user", "a"))
    done = run(lad, messages=picked)[-1]
    assert done.usage.prompt_tokens - done.usage.cached_tokens <= 6


@pytest.mark.parametrize(("temperature", "said"), [(0.01, "All 3 continuations are the same"), (1.0, "")])
def test_continuations_that_came_out_alike_are_said(temperature, said):
    lad, _ = ladder()
    events = run(lad, n=3, sampling=Sampling(temperature=temperature, seed=1))
    notices = " ".join(event.text for event in events if isinstance(event, Notice))
    assert notices.startswith(said) and bool(notices) == bool(said)


def test_more_continuations_than_slots_is_one_clear_line():
    lad, _ = ladder(n_parallel=2)
    event = run(lad, n=5)[-1]
    assert isinstance(event, Failed)
    assert "n_parallel" in event.text


def test_sequences_do_not_leak():
    lad, steppers = ladder()
    for seed in range(12):
        for extra in ({}, {"n": 4}, {"high": "16-bit", "decoder": Decoder.GATED}):
            run(
                lad,
                messages=(Message("user", chr(97 + seed % 8) * 20),),
                sampling=Sampling(temperature=1.0, seed=seed),
                **extra,
            )
    assert all(stepper.sequences() <= 4 for stepper in steppers.values())


def test_a_prompt_longer_than_the_context_is_one_clear_line():
    lad, steppers = ladder()
    event = run(lad, messages=(Message("user", "a" * 600),))[-1]
    assert event == Failed("ContextFull", "The prompt has 602 tokens, the context holds 512. Raise ctx or shorten it.")
    assert steppers["4-bit"].fed == 0


def test_old_conversations_make_room_for_a_long_one():
    lad, _ = ladder()
    for letter in "abc":
        run(lad, messages=(Message("user", letter * 150),))
    events = run(lad, messages=(Message("user", "d" * 480),))
    assert isinstance(events[-1], Done)
    assert len(tokens(events)) == 20


def test_a_cancel_keeps_the_partial_text_and_the_next_request_works():
    lad, _ = ladder()
    events: list = []

    def stop_after_five(event):
        events.append(event)
        if len(tokens(events)) == 5:
            lad.cancel()

    lad.run(Request(TALK, "4-bit", max_tokens=50), stop_after_five)
    assert len(tokens(events)) == 5
    assert events[-1].reason == "cancelled"
    assert events[-1].usage.completion_tokens == 5
    assert len(tokens(run(lad))) == 20


def test_the_fork_map_lists_where_the_high_tier_would_have_chosen_otherwise():
    lad, steppers = ladder()
    reply = tokens(run(lad))
    forks = lad.score(TALK, reply, "16-bit", against="4-bit")
    prompt = steppers["16-bit"].chat_prompt(TALK)
    for i, judgement in enumerate(forks.judgements):
        best = int(steppers["16-bit"].logits_after([*prompt, *reply[:i]]).argmax())
        assert judgement.best == best
    margins = [forks.judgements[i].margin for i in forks.forks()]
    assert margins
    assert margins == sorted(margins, reverse=True)
    assert lad.score(TALK, reply, "4-bit").forks() == []


def test_confirmed_and_overruled_are_what_they_say():
    lad, _ = ladder()
    events = run(lad, high="16-bit", decoder=Decoder.GATED, gate=Gate(0.05, {"margin": -2.0}), max_tokens=60)
    steps = [event for event in events if isinstance(event, Step)]
    for step in steps:
        if step.why is Why.SPOKE:
            assert step.tier == "4-bit"
            continue
        lows = [a for a in step.alternatives if a.tier == "4-bit"]
        if lows:
            assert (lows[0].token == step.token) == (step.why is Why.CONFIRMED)
    assert {step.why for step in steps} == {Why.SPOKE, Why.CONFIRMED, Why.OVERRULED}


def test_replies_are_not_cut_short_by_conversations_that_are_only_kept():
    lad, steppers = ladder()
    talk: tuple[Message, ...] = (Message("user", "a" * 100),)
    for turn in range(5):  # each turn reads high and hands a whole cache down
        events = run(lad, messages=talk, high="16-bit", decoder=Decoder.GATED, gate=Gate(0.1), max_tokens=30)
        assert events[-1].reason == "length", turn
        assert len(tokens(events)) == 30
        talk = (*talk, Message("assistant", "", tuple(tokens(events))), Message("user", "bc" * 10))
    assert steppers["4-bit"].sequences() == 1


def test_a_context_that_really_is_full_is_said():
    lad, _ = ladder()
    events = run(lad, messages=(Message("user", "a" * 490),), max_tokens=60)
    assert events[-1].reason == "context"
    assert any(isinstance(event, Notice) and "context of 512 tokens is full" in event.text for event in events)


def test_two_conversations_in_turn_both_stay_cached():
    lad, steppers = ladder()
    first, second = ((Message("user", "a" + letter * 120),) for letter in "bc")
    for talk in (first, second):
        run(lad, messages=talk)
    before = steppers["4-bit"].fed
    done = run(lad, messages=first)[-1]
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    assert steppers["4-bit"].fed - before <= 21


def test_numbers_that_are_not_finite_are_one_clear_line():
    lad, steppers = ladder()
    steppers["4-bit"].table[...] = float("nan")
    event = run(lad)[-1]
    assert isinstance(event, Failed)
    assert "not finite" in event.text


def test_a_tier_is_freed_and_loaded_again_while_the_others_keep_their_caches():
    lad, steppers = ladder()
    run(lad)
    low, fed = steppers["4-bit"], steppers["4-bit"].fed
    freed = []
    steppers["8-bit"].close = lambda: freed.append("8-bit")

    def opened(tier, spec):
        steppers[tier.name] = ToyStepper(seed=3, ctx=spec.ctx)
        return steppers[tier.name]

    assert lad.change(replace(lad.spec, resting=("8-bit",)), opened)
    assert lad.status().loaded() == ["4-bit", "16-bit"]
    eight = lad.status().tiers[1]
    assert eight.resting and not eight.problem and freed == ["8-bit"]
    with pytest.raises(LoadError, match="it is unloaded"):
        lad.reader("8-bit")
    assert lad.change(replace(lad.spec, resting=()), opened)
    assert lad.status().loaded() == ["4-bit", "8-bit", "16-bit"]
    assert steppers["4-bit"] is low
    run(lad, max_tokens=1)
    assert low.fed - fed <= 2, "the prompt was still in the cache"
    assert not lad.change(replace(lad.spec, ctx=64), opened)


def test_scoring_makes_room_for_the_reply():
    lad, steppers = ladder()
    for tier in ("4-bit", "16-bit"):
        for letter in "abc":
            run(lad, tier=tier, messages=(Message("user", letter * 120),), max_tokens=2)
    assert len(lad.score(TALK, [3] * 300, "16-bit", "4-bit").judgements) == 300
    for tier in ("4-bit", "16-bit"):
        held = [kept.seq for kept in lad.reader(tier)._kept]
        assert sum(steppers[tier].length(seq) for seq in held) <= 512, "a unified cache has no more cells"


def test_a_scoring_that_breaks_knows_what_it_left_in_the_cache():
    lad, steppers = ladder()
    steppers["16-bit"].fail_after = 2  # the prompt, the first 256 tokens of the reply, and no more
    with pytest.raises(BackendError, match="the toy broke"):
        lad.score(TALK, [3] * 300, "16-bit")
    steppers["16-bit"].fail_after = None
    (kept,) = lad.reader("16-bit")._kept
    assert kept.tokens == steppers["16-bit"].text(kept.seq)
