from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.calibrate.prompts import Prompt
from agent.calibrate.texts import Passage
from agent.density.calibration import Calibration
from agent.errors import AgentError
from agent.measure.frontier.control import explain
from agent.measure.frontier.endless import Endless
from agent.measure.frontier.local import LocalEngine
from agent.measure.frontier.plot import plot
from agent.measure.frontier.policies import Policy
from agent.measure.frontier.report import as_json, router_rows, table_rows
from agent.measure.frontier.run import Order, frontier
from agent.measure.frontier.trial import run_trial
from backends.signals import measure
from backends.stepper import Feed
from backends.types import Gate, LadderSpec, Message, Sampling, TierSpec
from tests.backends.toy_stepper import END, ToyStepper

NOISE = {"4-bit": 0.5, "8-bit": 0.15, "16-bit": 0.0}


def open_engine():
    def opener(tier, spec):
        return ToyStepper(
            vocab=24, seed=5, noise=NOISE[tier.name], tier_seed=9, ctx=spec.ctx, spread=1.2, end_bias=-6.0
        )

    made = LocalEngine(opener, lambda: 1000)
    made.load(LadderSpec(tuple(TierSpec(name, Path(name)) for name in NOISE), ctx=512))
    return made


@pytest.fixture
def engine():
    made = open_engine()
    yield made
    made.close()


def asked(count=16):
    return [
        Prompt((Message("user", chr(97 + n) * 3 + "hello"),), str(n), answer="a" * (n % 2), begin="bc" + chr(98 + n))
        for n in range(count)
    ]


def texts(count=12):
    rng = random.Random(3)
    return [Passage("".join(rng.choice("bcdefghijk") for _ in range(60)), str(n)) for n in range(count)]


def trial(engine, policy, number=0):
    return run_trial(engine.ladder, policy, asked()[number], number, "16-bit", sampling=Sampling(), tokens=40)


@pytest.fixture(scope="module")
def report():
    made = open_engine()
    yield frontier(made, asked(), Order("toy", tuple(NOISE), tokens=24), texts=texts())
    made.close()


def test_the_highest_tier_agrees_with_itself(engine):
    found = trial(engine, Policy("16-bit", "static", "16-bit"))
    assert found.agree == len(found.tokens) == found.high
    assert sum(found.kl) == 0


def test_an_oracle_writes_the_high_tiers_text_and_asks_only_at_forks(engine):
    own = trial(engine, Policy("16-bit", "static", "16-bit"))
    oracle = trial(engine, Policy("oracle gate", "oracle", "4-bit", "16-bit"))
    assert oracle.tokens == own.tokens and oracle.agree == len(own.tokens)
    assert 1 < oracle.high < len(own.tokens) / 2


def test_a_random_gate_spends_about_its_share(engine):
    policy = Policy("random", "random", "4-bit", "16-bit", budget=0.3)
    found = [trial(engine, policy, number) for number in range(8)]
    spent = sum(t.high for t in found) / sum(len(t.tokens) for t in found)
    assert spent == pytest.approx(0.3, abs=0.1)


def test_a_turn_is_written_again_only_when_it_is_dense(engine):
    never = trial(engine, Policy("turns", "turn", "4-bit", "16-bit", Gate(), 0.2, turn_threshold=2.0))
    always = trial(engine, Policy("turns", "turn", "4-bit", "16-bit", Gate(), 0.2, turn_threshold=0.0))
    assert never.high == 0 and never.tokens == trial(engine, Policy("4-bit", "static", "4-bit")).tokens
    assert always.tokens == trial(engine, Policy("16-bit", "static", "16-bit")).tokens


def test_a_trial_reads_the_prompt_itself(engine):
    policy = Policy("gated", "gated", "4-bit", "16-bit", Gate(0.1))
    first, second = trial(engine, policy), trial(engine, policy)
    assert first.tokens == second.tokens
    fed = engine.ladder.reader("16-bit").stepper.fed
    trial(engine, policy)
    prompt = len(engine.ladder.reader("16-bit").stepper.chat_prompt(asked()[0].messages))
    assert engine.ladder.reader("16-bit").stepper.fed - fed >= prompt


def test_the_report_holds_every_policy_and_is_plain_data(report):
    found, trials = report
    names = [point.name for point in found.points]
    assert {"4-bit", "8-bit", "16-bit", "read high, speak low", "gated 10%", "speculative", "oracle gate"} <= set(names)
    assert len(trials) == len(names) * found.prompts
    by = {point.name: point for point in found.points}
    assert by["speculative"].identical.value == 1.0 and by["oracle gate"].agreement.value == 1.0
    assert by["gated 30%"].agreement.value >= by["4-bit"].agreement.value
    assert by["16-bit"].time.value == 1.0 and by["8-bit"].time_8bit.value == 1.0
    assert found.verdict.startswith("Does anything beat static 8 bits")
    assert json.loads(as_json(found))["points"][0]["name"] == "4-bit"
    widths = {len(row) for row in table_rows(found)}
    assert len(widths) == 1
    assert [reading.name for reading in found.routers] == ["replies", "texts"]
    for reading in found.routers:
        assert len({len(row) for row in router_rows(reading)}) == 1
        assert 0 < reading.forks < reading.tokens and reading.at_ties > reading.forks / reading.tokens
    assert found.differences == ()


def test_routers_stand_between_chance_and_the_oracle(report):
    routers = {router.name: router for router in report[0].routers[0].routers}
    assert routers["oracle"].auroc.value == 1.0
    assert routers["random"].apgr.value < routers["margin (default rule)"].apgr.value <= routers["oracle"].apgr.value
    assert routers["random"].auroc.value == pytest.approx(0.5, abs=0.2)
    assert routers["margin (default rule)"].cpt50.value < routers["random"].cpt50.value


def test_a_picture_is_written(report, tmp_path):
    pytest.importorskip("matplotlib")
    plot(report[0], tmp_path / "sub" / "frontier.png")
    assert (tmp_path / "sub" / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_an_unknown_kind_is_one_clear_error(report, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(AgentError, match="could not be written"):
        plot(report[0], tmp_path / "frontier.nonsense")


def test_one_tier_has_no_frontier(engine):
    with pytest.raises(AgentError, match="two tiers"):
        frontier(engine, asked(), Order("toy", ("4-bit",)))


def test_a_density_made_elsewhere_is_used_as_it_is(engine):
    given = Calibration(
        "toy", "4-bit", "16-bit", {}, {"bias": 0.0, "margin": -3.0}, ((0.1, 0.5), (0.3, 0.2)), date="2026-01-01"
    )
    order = Order("toy", tuple(NOISE), tokens=24, kinds=("gated", "speculative"), calibration=given)
    found, _ = frontier(engine, asked(), order)
    assert found.density == given.weights and not found.routers
    assert {point.kind for point in found.points} == {"static", "gated", "speculative"}


def test_an_endless_text_holds_no_end_and_is_judged_without_one():
    stepper = Endless(ToyStepper(vocab=12, seed=4, end_bias=5.0))
    seq = stepper.open()
    assert int(stepper.prefill(seq, [3, 2]).argmax()) != END
    for token in range(1, 12):
        (rows,) = stepper.step([Feed(seq, (token,))])
        assert int(rows[0].argmax()) != END and np.isneginf(rows[0, END])
        assert np.isfinite(measure(rows[0]).entropy)


class WidthSensitive(ToyStepper):
    """Logits of steps wider than one token are off by a little, as those of real engines are."""

    def step(self, feeds):
        rows = super().step(feeds)
        wide = max(len(feed.tokens) for feed in feeds) > 1
        return [row + self.off if wide else row for row in rows]


@pytest.mark.parametrize(("tier", "explained"), [("wide", True), ("broken", False)])
def test_a_difference_is_explained_only_by_the_width_of_steps(tier, explained):
    off = np.random.default_rng(1).normal(size=24).astype(np.float32) * 0.4

    def opener(spec, ladder):
        noise = 0.5 if spec.name == "4-bit" else 0.0
        made = WidthSensitive(vocab=24, seed=5, noise=noise, tier_seed=9, ctx=ladder.ctx, spread=1.2, end_bias=-6.0)
        made.off = off if spec.name == "16-bit" and tier == "wide" else 0 * off
        return made

    engine = LocalEngine(opener)
    engine.load(LadderSpec((TierSpec("4-bit", Path("a")), TierSpec("16-bit", Path("b"))), ctx=512))
    plain, exact = Policy("16-bit", "static", "16-bit"), Policy("speculative", "speculative", "4-bit", "16-bit")
    exact = replace(exact, gate=Gate(0.02, {"bias": 0.0, "margin": -2.0}))
    found = []
    for number, prompt in enumerate(asked()):
        own, other = (
            run_trial(engine.ladder, policy, prompt, number, "16-bit", sampling=Sampling(), tokens=40)
            for policy in (plain, exact)
        )
        if tier == "broken":  # a decoder that writes a wrong token somewhere
            other = replace(other, tokens=(*own.tokens[:5], own.tokens[5] % 20 + 1, *own.tokens[6:]))
        begin = tuple(engine.tokenize(prompt.begin))
        request = exact.request(prompt.messages, begin, Sampling(), 40)
        found.append(explain(engine.ladder, exact, "16-bit", request, own, other))
    differing = [each for each in found if each is not None]
    assert differing
    assert all(each.explained is explained for each in differing)
    assert all(each.margin > 0 for each in differing)
