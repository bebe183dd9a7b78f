from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.calibrate.collect import beginning, examples, gated_replies, spent
from agent.calibrate.picks import ENOUGH, FEATURES, fit_picks, preference
from agent.calibrate.prompts import Prompt, from_conversations, from_file, split
from agent.calibrate.run import Order, calibrate, uncalibrated, with_picks
from agent.errors import AgentError, SettingsError
from agent.values import Pick
from backends.scripted import Script
from backends.types import Gate, Message, Sampling
from tests.agent.toy_engine import ToyEngine


def asked(count):
    return [Prompt((Message("user", chr(97 + n % 26) * 4 + "word"),), str(n), begin="ab") for n in range(count)]


def quiet(what, share):
    pass


@pytest.fixture
def engine(tmp_path):
    made = ToyEngine({"4-bit": 0.5, "16-bit": 0.0}, folder=tmp_path)
    for tier in ("4-bit", "16-bit"):
        (tmp_path / f"{tier}.gguf").write_bytes(tier.encode() * 100)
    return made


# Prompts --------------------------------------------------------------------------------------------------------------


def test_a_text_file_holds_one_prompt_a_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# a comment\nWho?\n\nWhere?\n")
    found = from_file(path, system="Be brief.")
    assert [prompt.messages[-1].content for prompt in found] == ["Who?", "Where?"]
    assert found[0].messages[0] == Message("system", "Be brief.")


def test_json_lines_hold_more(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Who?", "context": "Anna.", "answer": "Anna", "group": "doc", "begin": "It is"}\n')
    (found,) = from_file(path)
    assert found.messages[0].content == "Anna.\n\nWho?"
    assert (found.answer, found.group, found.begin) == ("Anna", "doc", "It is")


@pytest.mark.parametrize("text", ["", "# nothing\n", '{"question": 1}\n', "[]\n", "{\n"])
def test_a_bad_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"prompts\.jsonl"):
        from_file(path)


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"\xff\xfe\x00"), lambda p: None])
def test_an_unreadable_file_is_one_clear_error(tmp_path, make):
    path = tmp_path / "prompts.txt"
    make(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        from_file(path)


def test_the_shipped_prompts_can_be_read_and_split():
    from pathlib import Path

    path = Path(__file__).parents[3] / "bench" / "prompts" / "prompts.jsonl"
    if not path.is_file():
        pytest.skip("the source tree's bench folder is not here")
    found = from_file(path)
    assert len(found) >= 60
    assert all(split(found))


def test_groups_are_never_split_and_shares_hold():
    prompts = [Prompt((Message("user", str(n)),), f"doc{n // 3}") for n in range(60)]
    parts = split(prompts)
    groups = [{prompt.group for prompt in part} for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert [len(part) for part in parts] == pytest.approx([30, 15, 15], abs=3)
    assert split(list(reversed(prompts))) == parts or [{p.group for p in part} for part in split(prompts)] == groups


def test_past_conversations_with_what_stood_before(open_fovea):
    fovea = open_fovea("Hello.", "Fine.")
    session = fovea.session()
    list(session.send("Hi"))
    list(session.send("How are you?"))
    found = from_conversations(fovea.tree, "Be kind.")
    assert [prompt.messages[-1].content for prompt in found] == ["How are you?", "Hi"]
    assert [m.role for m in found[0].messages] == ["system", "user", "assistant", "user"]
    assert {prompt.group for prompt in found} == {session.id}
    assert len(from_conversations(fovea.tree, most=1)) == 1


def test_one_long_conversation_does_not_keep_the_others_out(open_fovea):
    fovea = open_fovea(*(["Yes."] * 30))
    others = [fovea.session() for _ in range(3)]
    for session in others:
        list(session.send("Hi"))
    long = fovea.session()
    for number in range(20):
        list(long.send(f"Question {number}?"))
    groups = [prompt.group for prompt in from_conversations(fovea.tree, most=20)]
    assert set(groups) == {long.id, *(session.id for session in others)}
    assert groups.count(long.id) == 5


def test_roles_take_turns_in_what_stood_before(open_fovea):
    fovea = open_fovea(Script("", fail_after=0), "Fine.")
    session = fovea.session()
    list(session.send("Hi"))
    list(session.send("Are you there?"))
    assert [m.role for m in from_conversations(fovea.tree)[0].messages] == ["user"]


def test_prompts_of_one_conversation_are_refused_before_anything_is_written(engine):
    prompts = [replace(prompt, group="one") for prompt in asked(20)]
    with pytest.raises(AgentError, match="come from one conversation"):
        calibrate(engine, prompts, Order("toy", "4-bit", "16-bit"), quiet)
    assert engine.requests == []


# The whole ------------------------------------------------------------------------------------------------------------


def test_a_calibration_spends_its_budget_on_prompts_it_has_not_seen(engine):
    # Drawn, because greedy texts of a toy model go in circles: few distinct densities.
    sampling = Sampling(temperature=1.0)
    order = Order("toy", "4-bit", "16-bit", budget=0.2, tokens=60, source="test", sampling=sampling)
    found = calibrate(engine, asked(52), order, quiet)
    assert (found.low, found.high) == ("4-bit", "16-bit")
    assert set(found.weights) >= {"bias", "margin"}
    assert found.held_out.ran and found.held_out.forks > 0
    # A toy model of 24 letters repeats itself: few distinct densities, so wider than the 2 points real models keep.
    for name, share in found.held_out.spent.items():
        assert share == pytest.approx(float(name.rstrip("%")) / 100, abs=0.08)
    assert found.held_out.caught["20%"][0] > 0.3
    assert found.held_out.spent_within.keys() == found.held_out.spent.keys()
    assert all(low <= found.held_out.spent[name] <= high for name, (low, high) in found.held_out.spent_within.items())
    assert found.mismatch(engine.status(), "4-bit", "16-bit") == ""
    (engine.status().tiers[0].path).write_bytes(b"another model")
    assert "another 4-bit file" in found.mismatch(engine.status(), "4-bit", "16-bit")


def test_too_few_prompts_are_said(engine):
    with pytest.raises(AgentError, match="at least 12"):
        calibrate(engine, asked(5), Order("toy", "4-bit", "16-bit"), quiet)


def test_tiers_that_do_not_differ_are_said():
    same = ToyEngine({"4-bit": 0.0, "16-bit": 0.0})
    with pytest.raises(AgentError, match="nothing to calibrate"):
        calibrate(same, asked(16), Order("toy", "4-bit", "16-bit", tokens=12), quiet)


def test_prompts_that_do_not_fit_are_left_out(engine):
    prompts = [*asked(2), Prompt((Message("user", "a" * 600),), "long")]
    assert len(examples(engine, prompts, "4-bit", "16-bit", tokens=20, sampling=Sampling())) == 2


def test_a_reply_begins_as_it_is_told_and_only_what_was_written_is_judged(engine):
    (prompt,) = asked(1)
    (found,) = examples(engine, [prompt], "4-bit", "16-bit", tokens=10, sampling=Sampling())
    assert engine.requests[-1].prefix == beginning(engine, prompt) != ()
    assert len(found) <= 10


def test_an_open_gate_spends_everything_and_a_closed_one_the_first_tokens(engine):
    gates = [Gate(at, max_pending=1000) for at in (0.0, 1.01)]
    spend = [
        spent(gated_replies(engine, asked(4), "4-bit", "16-bit", gate, tokens=20, sampling=Sampling()))
        for gate in gates
    ]
    assert spend[0].value == 1.0
    assert 0 < spend[1].low <= spend[1].value <= spend[1].high <= 0.1


# Picks ----------------------------------------------------------------------------------------------------------------


def picks(count, rule, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        features = {name: float(rng.random()) for name in FEATURES}
        high = rule(features, rng)
        below = {"node": 2 * n, "tier": "4-bit", "features": features}
        above = {"node": 2 * n + 1, "tier": "16-bit", "features": {}}
        found.append(Pick(n, "s", 2 * n + int(high), 0.0, bool(n % 2), (below, above)))
    return found


def test_picks_teach_which_replies_a_person_wants_looked_at():
    learned = fit_picks(picks(120, lambda f, rng: f["density_mean"] + 0.2 * rng.normal() > 0.5), "4-bit", "16-bit")
    assert learned.auroc.low > 0.7 and learned.weights["density_mean"] > 0
    quiet_reply, dense_reply = ({"density_mean": at} | dict.fromkeys(FEATURES[1:], 0.5) for at in (0.1, 0.9))
    assert preference(learned.weights, dense_reply) > 0.5 > preference(learned.weights, quiet_reply)


def test_picks_by_chance_teach_nothing():
    learned = fit_picks(picks(100, lambda f, rng: rng.random() < 0.5), "4-bit", "16-bit")
    assert learned.auroc.low < 0.5


@pytest.mark.parametrize(
    ("count", "rule"), [(ENOUGH - 1, lambda f, rng: rng.random() < 0.5), (60, lambda f, rng: True)]
)
def test_too_few_or_one_sided_picks_are_said(count, rule):
    with pytest.raises(AgentError, match="at least 20"):
        fit_picks(picks(count, rule), "4-bit", "16-bit")


def test_picks_between_other_tiers_do_not_count():
    with pytest.raises(AgentError, match="There are 0 picks between 8-bit and 16-bit"):
        fit_picks(picks(60, lambda f, rng: rng.random() < 0.5), "8-bit", "16-bit")


def test_picks_are_added_to_what_is_in_force(engine):
    base = uncalibrated("toy", engine.status(), "4-bit", "16-bit", 0.2)
    assert base.mismatch(engine.status(), "4-bit", "16-bit") == ""
    thresholds = [base.threshold(budget) for budget in (0.05, 0.1, 0.2, 0.3)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert with_picks(base, {"bias": 1.0}, "note").picks == {"bias": 1.0}
