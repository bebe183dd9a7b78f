from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.density import calibration as calibrations
from agent.density.calibration import Calibration
from agent.measure import figures as measured
from agent.measure.figures import Handover, LadderFigures, TierFigures
from agent.oversight import Situation
from agent.policy.controller import REACH, shifted
from agent.policy.overseer import BudgetOverseer
from agent.policy.predict import Predictor
from agent.settings import PolicySettings
from agent.values import Node, Policy, Scope, Speed, Spending, Status
from backends.types import Alternative, Decoder, LadderStatus, Message, Step, TierStatus

ASKED = (Message("user", "Who built it?"),)
SPEEDS = {"4-bit": Speed(80, 16), "16-bit": Speed(70, 8)}


def step(text, density=0.01, margin=2.0, other="never", token=1, why="spoke"):
    alternatives = (Alternative(token, text, 0.5, "4-bit"), Alternative(token + 1, other, 0.4, "4-bit"))
    return Step(token, text, "4-bit", 0.5, 1.0, margin, density, why=why, alternatives=alternatives)


def reply(steps, tier="4-bit", status=Status.DONE):
    text = "".join(s.text for s in steps)
    return Node(7, "s", 6, "assistant", text, status, tier, 0.0, tier=tier, steps=tuple(steps))


def situation(tmp_path, *, loaded=True, spending=None, **policy):
    settings = PolicySettings(**{"mode": Policy.AUTO, **policy})
    tiers = []
    for name, size in (("4-bit", 300), ("16-bit", 1000)):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(name.encode() * size)
        ready = loaded or name == "4-bit"
        tiers.append(TierStatus(name, path, ready, size if ready else 0))
    return Situation(
        policy=settings,
        ladder=LadderStatus(tuple(tiers), 4096, 100, "toy"),
        model="toy",
        tier="4-bit",
        high="16-bit",
        spending=spending or Spending(0, 0, 0, 0, settings.budget),
        speed=lambda tier: SPEEDS.get(tier, Speed()),
        prompt_tokens=140,
    )


def calibration(where, **changes):
    keys = {t.name: calibrations.file_key(t.path) for t in where.ladder.tiers}
    made = Calibration(
        "toy", "4-bit", "16-bit", keys, {"bias": 1.0, "margin": -9.0}, ((0.1, 0.3), (0.2, 0.1)), ((0.2, 0.05),)
    )
    return replace(made, **changes)


def overseer(tmp_path, made=None):
    path = None
    if made is not None:
        path = tmp_path / "calibration.json"
        calibrations.save(made, path)
    return BudgetOverseer(path, tmp_path / "cache")


# Plans ----------------------------------------------------------------------------------------------------------------


def test_auto_looks_closer_within_the_budget_and_says_so(tmp_path):
    plan = overseer(tmp_path).plan(situation(tmp_path, budget=0.1), ASKED)
    assert (plan.tier, plan.decoder, plan.high) == ("4-bit", Decoder.GATED, "16-bit")
    assert plan.gate.weights == {} and 0 < plan.gate.threshold < 1
    assert "budget 10%" in plan.why and plan.predicted_s > 0


@pytest.mark.parametrize("mode", [Policy.ASK, Policy.MANUAL, Policy.OFF])
def test_other_modes_speak_plainly(tmp_path, mode):
    plan = overseer(tmp_path).plan(situation(tmp_path, mode=mode), ASKED)
    assert (plan.decoder, plan.high, plan.why) == (Decoder.PLAIN, "", "")


def test_nothing_to_look_with_or_nothing_to_spend_is_plain(tmp_path):
    here = situation(tmp_path)
    assert overseer(tmp_path).plan(replace(here, high=""), ASKED).decoder is Decoder.PLAIN
    assert overseer(tmp_path).plan(situation(tmp_path, budget=0.0), ASKED).decoder is Decoder.PLAIN


def test_faithful_is_exact_whatever_was_spent(tmp_path):
    spent = Spending(500, 500, 5, 5, 0.1)
    plan = overseer(tmp_path).plan(situation(tmp_path, faithful=True, spending=spent, budget=0.1), ASKED)
    assert plan.decoder is Decoder.SPECULATIVE and plan.high == "16-bit"


def test_a_calibration_for_these_tiers_is_used(tmp_path):
    here = situation(tmp_path, budget=0.2)
    plan = overseer(tmp_path, calibration(here)).plan(here, ASKED)
    assert plan.gate.weights == {"bias": 1.0, "margin": -9.0}
    assert plan.gate.threshold == pytest.approx(0.1)


def test_a_plain_reply_is_measured_by_the_rule_that_will_judge_it(tmp_path):
    here = situation(tmp_path, mode=Policy.ASK)
    plan = overseer(tmp_path, calibration(here)).plan(here, ASKED)
    assert plan.decoder is Decoder.PLAIN and plan.gate.weights == {"bias": 1.0, "margin": -9.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": {"4-bit": "x", "16-bit": "y"}}, "another 4-bit file"),
        ({"high": "8-bit"}, "made for 4-bit → 8-bit"),
    ],
)
def test_a_calibration_for_other_tiers_is_not_used_silently(tmp_path, change, reason):
    here = situation(tmp_path)
    boss = overseer(tmp_path, calibration(here, **change))
    assert boss.plan(here, ASKED).gate.weights == {}
    boss.plan(here, ASKED)
    (line,) = boss.notices()
    assert reason in line and "fovea calibrate" in line
    assert boss.notices() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}'])
def test_a_damaged_calibration_is_one_line_and_the_default_rule(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    boss = BudgetOverseer(path, tmp_path)
    assert boss.plan(situation(tmp_path), ASKED).decoder is Decoder.GATED
    assert len(boss.notices()) == 1


def test_an_unknown_signal_in_a_calibration_is_refused(tmp_path):
    here = situation(tmp_path)
    boss = overseer(tmp_path, calibration(here, weights={"bias": 0.0, "moon": 1.0}))
    assert boss.plan(here, ASKED).gate.weights == {}
    assert "moon" in boss.notices()[0]


# The controller -------------------------------------------------------------------------------------------------------


def test_the_threshold_rises_when_too_much_was_spent_and_falls_when_too_little(tmp_path):
    even, over, under = (Spending(high, 400, 0, 4, 0.1) for high in (40, 80, 10))
    thresholds = [shifted(0.1, spent, 0.1) for spent in (under, even, over)]
    assert thresholds == sorted(thresholds) and thresholds[1] == pytest.approx(0.1)
    boss = overseer(tmp_path)
    controlled = situation(tmp_path, budget=0.1, spending=under)
    switched_off = situation(tmp_path, budget=0.1, spending=under, controller=False)
    assert boss.plan(switched_off, ASKED).gate.threshold > boss.plan(controlled, ASKED).gate.threshold


def test_what_is_spent_is_spent(tmp_path):
    over, far_over = Spending(41, 400, 0, 4, 0.1), Spending(1000, 4000, 0, 40, 0.1)
    boss = overseer(tmp_path)
    for spending, controller, decoder in (
        (over, False, Decoder.PLAIN),
        (over, True, Decoder.GATED),
        (far_over, True, Decoder.PLAIN),
    ):
        here = situation(tmp_path, budget=0.1, spending=spending, controller=controller)
        assert boss.plan(here, ASKED).decoder is decoder


def test_the_shift_is_bounded():
    far = shifted(0.1, Spending(0, 100_000, 0, 9, 0.1), 0.1)
    assert far == pytest.approx(1 / (1 + 9 * 2.718281828**REACH), rel=1e-3)


@pytest.mark.parametrize("truth", [0.02, 0.3, 2.5])
def test_spending_settles_at_the_budget_though_the_calibration_is_wrong(truth):
    """A model whose densities are ``truth`` times what was calibrated, 30 replies of 100 tokens."""
    import numpy as np

    rng = np.random.default_rng(0)
    high = every = 0
    shares = []
    for _ in range(60):
        threshold = shifted(0.2, Spending(high, every, 0, 0, 0.2), 0.2)
        odds = truth * rng.exponential(0.15, 100)
        fired = int((odds / (1 + odds) >= threshold).sum())
        shares.append(fired / 100)
        high, every = high + fired, every + 100
    assert high / every == pytest.approx(0.2, abs=0.06)
    assert float(np.mean(shares[-20:])) == pytest.approx(0.2, abs=0.05)


# Proposals ------------------------------------------------------------------------------------------------------------


def test_an_ask_says_why_where_and_what_it_costs(tmp_path):
    steps = [step("It "), step("was "), step("not", density=0.6, margin=0.01, other=" never"), step(" built.")]
    here = situation(tmp_path, mode=Policy.ASK, scope=Scope.SPAN)
    ask = overseer(tmp_path).review(here, reply(steps))
    assert (ask.start, ask.end, ask.tier, ask.scope) == (2, 4, "16-bit", Scope.SPAN)
    assert ask.why == "“not” and “never” were nearly tied (a negation)"
    # 2 tokens to write at 8 a second, 142 to read at 70 a second.
    assert ask.seconds == pytest.approx(2 / 8 + 142 / 70)
    assert ask.memory == 0


def test_a_whole_turn_is_proposed_with_its_places_counted(tmp_path):
    steps = [step("In "), step("1868", density=0.5, margin=0.02, other="1886"), step(" or"), step(" so", density=0.4)]
    ask = overseer(tmp_path).review(situation(tmp_path, mode=Policy.ASK), reply(steps))
    assert (ask.start, ask.end) == (0, 4)
    assert ask.why == "“1868” and “1886” were nearly tied (a number), and 1 more place"


def test_the_reply_of_a_server_is_proposed_for_though_its_tokens_have_no_ids(tmp_path):
    doubtful = replace(step(" four", density=0.4, margin=0.02, token=-1), alternatives=())
    found = overseer(tmp_path).review(situation(tmp_path, mode=Policy.ASK), reply([doubtful]))
    assert found is not None and "four" in found.why


def test_a_tier_that_is_not_loaded_costs_its_file_in_memory(tmp_path):
    steps = [step("no", density=0.9, margin=0.0)]
    ask = overseer(tmp_path).review(situation(tmp_path, mode=Policy.ASK, loaded=False), reply(steps))
    assert ask.memory == len(b"16-bit") * 1000


@pytest.mark.parametrize(
    "what",
    [
        {"mode": Policy.AUTO},
        {"mode": Policy.OFF},
        {"budget": 0.0},
        {"scope": Scope.SPAN, "spending": Spending(30, 100, 0, 3, 0.2)},
        {"spending": Spending(100, 200, 1, 2, 0.2)},
    ],
)
def test_nothing_is_proposed_in_other_modes_or_beyond_the_budget(tmp_path, what):
    here = situation(tmp_path, **{"mode": Policy.ASK, **what})
    assert overseer(tmp_path).review(here, reply([step("no", density=0.9)])) is None


def test_plain_places_and_unfinished_replies_are_left_alone(tmp_path):
    here = situation(tmp_path, mode=Policy.ASK)
    boss = overseer(tmp_path)
    assert boss.review(here, reply([step("yes")])) is None
    assert boss.review(here, reply([step("no", density=0.9)], status=Status.STOPPED)) is None
    assert boss.review(here, reply([step("no", density=0.9, why="confirmed")])) is None


def test_with_a_calibration_only_dense_turns_are_proposed(tmp_path):
    here = situation(tmp_path, mode=Policy.ASK, budget=0.2)
    boss = overseer(tmp_path, calibration(here))
    dense = [step("no", density=0.4), *[step("x", density=0.01)] * 3]
    thin = [step("no", density=0.4), *[step("x", density=0.0)] * 30]
    assert boss.review(here, reply(dense)) is not None
    assert boss.review(here, reply(thin)) is None


def test_picks_decide_which_turns_are_proposed(tmp_path):
    here = situation(tmp_path, mode=Policy.ASK)
    steps = reply([step("no", density=0.6)])
    likes = overseer(tmp_path, calibration(here, picks={"bias": 3.0}))
    assert likes.review(here, steps) is not None
    dislikes = overseer(tmp_path, calibration(here, picks={"bias": -3.0}))
    assert dislikes.review(here, steps) is None


# Predictions ----------------------------------------------------------------------------------------------------------


def figures(high_write=8.0):
    tiers = {
        "4-bit": TierFigures(300, 80, 16, {1: 1 / 16, 8: 0.25}),
        "16-bit": TierFigures(1000, 70, high_write, {1: 1 / high_write, 8: 1.9 / high_write, 16: 3.5 / high_write}),
    }
    given = Handover("4-bit", "16-bit", 1000, 0.03, 0.2, 14.0, 0.001, 0.002, 0.003)
    return LadderFigures("key", measured.machine_name(), 2, "2026-01-01", tiers, (given,))


def test_measured_figures_come_before_past_replies(tmp_path):
    here = situation(tmp_path)
    assert Predictor(here).write_s("16-bit", 16) == pytest.approx(2.0)
    assert Predictor(here, figures(high_write=4.0)).write_s("16-bit", 16) == pytest.approx(4.0)
    assert Predictor(here, figures()).handover_s("16-bit") == pytest.approx(0.2)
    assert Predictor(here).handover_s("16-bit") is None


def test_an_unmeasured_tier_is_scaled_by_the_size_of_its_file(tmp_path):
    here = replace(situation(tmp_path), speed=lambda tier: Speed(80, 16) if tier == "4-bit" else Speed())
    assert Predictor(here).write_s("16-bit", 48) == pytest.approx(48 / 16 * 1000 / 300)
    nothing = replace(here, speed=lambda tier: Speed())
    assert Predictor(nothing).write_s("16-bit", 48) == 0.0


def test_a_gate_costs_more_the_more_it_fires(tmp_path):
    predictor = Predictor(situation(tmp_path), figures())
    costs = [predictor.gated_s("4-bit", "16-bit", 100, share) for share in (0.0, 0.05, 0.1, 0.3)]
    assert costs == sorted(costs) and costs[0] == pytest.approx(100 / 16)


def test_whole_turns_are_drafted_where_that_is_faster(tmp_path):
    here = situation(tmp_path)
    boss = overseer(tmp_path)
    assert boss.closer(here, "16-bit").decoder is Decoder.PLAIN  # nothing measured
    key = calibrations.file_key(here.ladder.tiers[-1].path)
    for speed, decoder in ((6.0, Decoder.SPECULATIVE), (15.0, Decoder.PLAIN)):
        measured.save(tmp_path / "cache", replace(figures(high_write=speed), model=key))
        assert overseer(tmp_path).closer(here, "16-bit").decoder is decoder


def test_measured_reading_decides_who_reads(tmp_path):
    here = situation(tmp_path)
    assert overseer(tmp_path).plan(here, ASKED).read_high is None
    key = calibrations.file_key(here.ladder.tiers[-1].path)
    slow = figures()
    slow.tiers["16-bit"] = TierFigures(1000, 10, 8)
    measured.save(tmp_path / "cache", replace(slow, model=key))
    assert overseer(tmp_path).plan(here, ASKED).read_high is False


def test_a_calibration_file_is_read_as_it_was_written(tmp_path):
    made = calibration(situation(tmp_path), picks={"bias": 1.0})
    calibrations.save(made, tmp_path / "c.json")
    assert calibrations.load(tmp_path / "c.json") == made
    assert "margin" in (tmp_path / "c.json").read_text()


def test_figures_of_the_top_file(tmp_path):
    assert calibrations.file_key(Path(tmp_path / "nothing.gguf")) == ""
