from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from backends.decoders.gated import gated
from backends.decoders.pair import Pair
from backends.decoders.plain import plain
from backends.decoders.speculative import speculative
from backends.decoders.writer import Job, Writer
from backends.errors import BackendError
from backends.sampling import distribution
from backends.types import Gate, Notice, Sampling, Step, Why
from tests.backends.toy_stepper import ToyStepper

PROMPT = [3, 2, 3, 1]
NOISE = 0.8
SOFT = {"bias": 0.0, "margin": -2.0}
"""A gate for toy models, whose margins are wide: density 0.05 at a margin of 1.5 nats, 0.45 at 0.1."""


def tiers(**kwargs):
    return ToyStepper(noise=NOISE, tier_seed=7, **kwargs), ToyStepper(noise=0.0, **kwargs)


def run(
    low,
    high,
    *,
    verify,
    sampling=None,
    threshold=0.05,
    max_tokens=40,
    read_high=True,
    max_pending=64,
    shared=True,
    stop=(),
):
    job = Job(sampling or Sampling(), max_tokens, Gate(threshold, SOFT, max_pending), PROMPT, stop=stop)
    writer = Writer(low, "4-bit", job)
    low_seq, high_seq = low.open(), high.open()
    low_logits = low.prefill(low_seq, PROMPT)
    if read_high:
        high_logits, unread = high.prefill(high_seq, PROMPT), []
    else:
        high.prefill(high_seq, PROMPT[:-1])
        high_logits, unread = None, PROMPT[-1:]
    pair = Pair(writer, low_seq, high, "16-bit", high_seq, unread, shared=shared)
    steps, notices, generator = [], [], (speculative if verify else gated)(pair, low_logits, high_logits)
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return steps, notices, end.value, pair
        (notices if isinstance(item, Notice) else steps).append(item)


def alone(stepper, *, sampling=None, max_tokens=40):
    writer = Writer(stepper, "16-bit", Job(sampling or Sampling(), max_tokens))
    seq = stepper.open()
    return [step.token for step in plain(writer, seq, stepper.prefill(seq, PROMPT))]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("read_high", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.2, 0.45, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_verified_greedy_text_is_the_high_tiers_own(seed, threshold, read_high, shared):
    low, high = tiers(seed=seed)
    steps, _, reason, _ = run(low, high, verify=True, threshold=threshold, read_high=read_high, shared=shared)
    assert [step.token for step in steps] == alone(ToyStepper(seed=seed))
    assert reason in ("end", "length")
    assert {step.tier for step in steps} == {"16-bit"}


@pytest.mark.parametrize("seed", range(4))
def test_verified_with_repetition_penalty_is_still_the_high_tiers_own(seed):
    sampling = Sampling(repetition_penalty=1.3)
    low, high = tiers(seed=seed)
    steps, *_ = run(low, high, verify=True, sampling=sampling)
    assert [step.token for step in steps] == alone(ToyStepper(seed=seed), sampling=sampling)


def test_a_gate_that_always_fires_writes_the_high_tiers_text():
    low, high = tiers(seed=3)
    steps, *_ = run(low, high, verify=False, threshold=0.0)
    assert [step.token for step in steps] == alone(ToyStepper(seed=3))
    assert {step.why for step in steps} <= {Why.CONFIRMED, Why.OVERRULED}


def test_a_gate_that_never_fires_writes_the_low_tiers_text():
    low, high = tiers(seed=3)
    steps, *_ = run(low, high, verify=False, threshold=2.0, read_high=False, max_pending=1000)
    assert [step.token for step in steps] == alone(ToyStepper(seed=3, noise=NOISE, tier_seed=7))
    assert {step.why for step in steps} == {Why.SPOKE}
    assert high.fed == len(PROMPT) - 1


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("verify", [True, False])
def test_both_caches_hold_the_text_as_it_stands(verify, shared):
    low, high = tiers(seed=5)
    steps, _, _, pair = run(low, high, verify=verify, threshold=0.1, shared=shared)
    whole = PROMPT + [step.token for step in steps]
    for stepper, seq in ((low, pair.low_seq), (high, pair.high_seq)):
        held = stepper.text(seq)
        assert held == whole[: len(held)]
        assert len(held) >= len(PROMPT)


@pytest.mark.parametrize("verify", [True, False])
def test_all_the_high_tier_reads_goes_back_to_the_low_one(verify):
    low, high = tiers(seed=5, end_bias=-50.0)
    _, _, _, pair = run(low, high, verify=verify, threshold=0.1)
    assert low.replaced == high.length(pair.high_seq) - len(PROMPT) > 20


@pytest.mark.parametrize("verify", [True, False])
def test_a_low_tier_that_takes_nothing_over_keeps_its_own_cache(verify):
    low, high = tiers(seed=5)
    low.takes_over = False
    steps, _, _, pair = run(low, high, verify=verify, threshold=0.1)
    assert not pair.shared
    other, above = tiers(seed=5)
    assert steps == run(other, above, verify=verify, threshold=0.1, shared=False)[0]


def test_pending_tokens_are_bounded():
    low, high = tiers(seed=3)
    steps, _, _, pair = run(low, high, verify=False, threshold=2.0, max_pending=5, read_high=False)
    assert pair.counts.high_steps >= len(steps) // 6


@pytest.mark.parametrize(
    ("fault", "said"), [(BackendError("the toy broke"), "the toy broke"), (MemoryError(), "not enough memory")]
)
@pytest.mark.parametrize("verify", [True, False])
def test_a_lost_high_tier_leaves_the_low_one_talking(verify, fault, said):
    low, high = tiers(seed=2, end_bias=-50.0)
    high.fail_after, high.fail_with = 3, fault
    steps, notices, reason, _ = run(low, high, verify=verify, threshold=0.02)
    assert len(steps) == 40
    assert reason == "length"
    assert [notice.text for notice in notices] == [f"The 16-bit tier failed ({said}); the reply goes on at 4-bit."]
    assert steps[-1].tier == "4-bit"


def test_a_stop_text_in_drafts_that_are_kept_ends_the_reply():
    for after in range(1, 6):
        low, high = tiers(seed=2, end_bias=-50.0)
        high.fail_after = after
        steps, *_ = run(low, high, verify=True, threshold=2.0)
        kept = next(at for at, step in enumerate(steps) if step.tier == "4-bit")
        stop = steps[kept].text + steps[kept + 1].text
        if stop in "".join(step.text for step in steps[: kept + 1]):
            continue
        low, high = tiers(seed=2, end_bias=-50.0)
        high.fail_after = after
        again, _, reason, _ = run(low, high, verify=True, threshold=2.0, stop=(stop,))
        assert reason == "stop"
        assert [step.token for step in again] == [step.token for step in steps[: kept + 2]]
        return
    pytest.fail("no drafts with a text of their own")


@pytest.mark.parametrize("threshold", [0.02, 0.3, 2.0])
@pytest.mark.parametrize("after", range(1, 6))
def test_what_was_drafted_stands_once_when_the_high_tier_is_lost(after, threshold):
    low, high = tiers(seed=2, end_bias=-50.0)
    high.fail_after = after
    steps, *_ = run(low, high, verify=True, threshold=threshold)
    text = PROMPT + [step.token for step in steps]
    kept = next(at for at, step in enumerate(steps) if step.tier == "4-bit")
    for at in range(len(PROMPT) + kept, len(text)):
        assert text[at] == int(low.logits_after(text[:at]).argmax())


def test_the_doubtful_token_is_judged_with_the_draft():
    # Every place is doubtful: each round judges one draft, and where it is right the token after it comes for free.
    low, high = tiers(seed=3, end_bias=-50.0)
    steps, _, _, pair = run(low, high, verify=True, threshold=0.0)
    assert pair.counts.drafted >= pair.counts.high_steps - 1
    assert pair.counts.accepted > 5
    assert len(steps) == 40
    assert pair.counts.high_steps < 40 - pair.counts.accepted // 2


def test_a_full_context_ends_the_reply_with_its_reason():
    low, high = tiers(seed=2, ctx=16, end_bias=-50.0)
    *_, reason, _ = run(low, high, verify=True)
    assert reason == "context"


def chi_square(counts: Counter, p: dict[tuple[int, ...], float]) -> tuple[float, int]:
    total = sum(counts.values())
    common = {text: share for text, share in p.items() if share * total >= 5}
    rest = 1.0 - sum(common.values())
    statistic = sum((counts[text] - share * total) ** 2 / (share * total) for text, share in common.items())
    if rest * total >= 5:
        seen = total - sum(counts[text] for text in common)
        statistic += (seen - rest * total) ** 2 / (rest * total)
        return statistic, len(common)
    return statistic, len(common) - 1


def truth(choose_table, sampling, length):
    """Exact probability of every text of ``length`` tokens; ``choose_table(text)`` gives the logits used there."""
    texts = {(): 1.0}
    for _ in range(length):
        grown: dict[tuple[int, ...], float] = {}
        for text, share in texts.items():
            for token, p in enumerate(distribution(choose_table(text), sampling)):
                if p > 0:
                    grown[(*text, token)] = grown.get((*text, token), 0.0) + share * float(p)
        texts = grown
    return texts


@pytest.mark.parametrize("sampling", [Sampling(temperature=1.0), Sampling(temperature=0.8, top_k=3, min_p=0.05)])
@pytest.mark.parametrize("threshold", [0.05, 0.4])
def test_verified_samples_follow_the_high_tiers_distribution(sampling, threshold):
    from scipy.stats import chi2

    counts: Counter = Counter()
    high = ToyStepper(vocab=4, seed=1, spread=1.0, end_bias=-60.0)
    for seed in range(2500):
        low = ToyStepper(vocab=4, seed=1, spread=1.0, end_bias=-60.0, noise=NOISE, tier_seed=7)
        high.close()
        drawn = Sampling(temperature=sampling.temperature, top_k=sampling.top_k, min_p=sampling.min_p, seed=seed)
        steps, *_ = run(low, high, verify=True, sampling=drawn, threshold=threshold, max_tokens=3, read_high=False)
        counts[tuple(step.token for step in steps)] += 1
    statistic, freedom = chi_square(counts, truth(lambda text: high.logits_after([*PROMPT, *text]), sampling, 3))
    assert statistic < chi2.ppf(0.999, freedom)


def test_gated_samples_come_from_the_high_tier_where_the_gate_fires_and_from_the_low_one_elsewhere():
    from scipy.stats import chi2

    from backends.gate import Tracker
    from backends.signals import measure

    sampling, threshold = Sampling(temperature=1.0), 0.2
    low = ToyStepper(vocab=4, seed=1, spread=1.0, end_bias=-60.0, noise=NOISE, tier_seed=7)
    high = ToyStepper(vocab=4, seed=1, spread=1.0, end_bias=-60.0)
    gate = Tracker(Gate(threshold, SOFT), lambda _: "")

    def table(text):
        whole = [*PROMPT, *text]
        fires = gate.density(measure(low.logits_after(whole))) >= threshold
        return (high if fires else low).logits_after(whole)

    expected = truth(table, sampling, 3)
    counts: Counter = Counter()
    whys: Counter = Counter()
    for seed in range(2500):
        low.close(), high.close()
        drawn = Sampling(temperature=1.0, seed=seed)
        steps, *_ = run(low, high, verify=False, sampling=drawn, threshold=threshold, max_tokens=3, read_high=False)
        counts[tuple(step.token for step in steps)] += 1
        whys.update(step.why for step in steps)
    statistic, freedom = chi_square(counts, expected)
    assert statistic < chi2.ppf(0.999, freedom)
    assert whys[Why.SPOKE] > 100
    assert whys[Why.OVERRULED] > 100


def test_lookup_drafts_are_verified_like_any_other():
    low, high = tiers(seed=4, order=1, end_bias=-50.0)
    steps, _, _, pair = run(low, high, verify=True, max_tokens=120, threshold=0.3)
    assert [step.token for step in steps] == alone(ToyStepper(seed=4, order=1, end_bias=-50.0), max_tokens=120)
    # A table of order 1 repeats itself, so most of the text can be looked up: few low steps are needed.
    assert low.steps < 90
    assert pair.counts.accepted > 80


def test_provenance_names_both_tiers_alternatives_where_the_high_one_was_asked():
    low, high = tiers(seed=3)
    steps, *_ = run(low, high, verify=False, threshold=0.1)
    asked = [step for step in steps if step.why is not Why.SPOKE]
    assert asked
    assert {alternative.tier for alternative in asked[1].alternatives} == {"4-bit", "16-bit"}
    spoke = next(step for step in steps if step.why is Why.SPOKE)
    assert {alternative.tier for alternative in spoke.alternatives} == {"4-bit"}
    assert all(0 <= step.p <= 1 and step.margin >= 0 and 0 <= step.density <= 1 for step in steps)
    assert isinstance(steps[0], Step)
    assert np.isfinite([step.entropy for step in steps]).all()
