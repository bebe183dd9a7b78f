from __future__ import annotations

import numpy as np
import pytest

from backends.decoders.branch import branch
from backends.decoders.lookup import Lookup
from backends.decoders.plain import plain
from backends.decoders.score import score
from backends.decoders.writer import Job, Writer
from backends.signals import divergence, measure
from backends.types import Sampling
from tests.backends.toy_stepper import END, ToyStepper

PROMPT = [3, 5, 4, 1]


class ByteStepper(ToyStepper):
    """Tokens are bytes of a given text, in order, so that characters are split between tokens."""

    def __init__(self, data: bytes) -> None:
        super().__init__(vocab=len(data) + 1)
        self.data = data

    def piece(self, token: int) -> bytes:
        return self.data[token - 1 : token]


def collect(generator):
    items = []
    while True:
        try:
            items.append(next(generator))
        except StopIteration as end:
            return items, end.value


def test_text_is_whole_characters_and_complete():
    text = "Зрение 👁️!"
    stepper = ByteStepper(text.encode())
    writer = Writer(stepper, "t", Job())
    row = measure(np.zeros(stepper.facts.n_vocab, np.float32))
    steps = [writer.write(i + 1, row) for i in range(len(text.encode()))]
    assert "".join(step.text for step in steps) == text
    assert all("\ufffd" not in step.text for step in steps)


def test_a_resumed_reply_joins_a_split_character():
    data = "Ж".encode()
    stepper = ByteStepper(data)
    writer = Writer(stepper, "t", Job(prefix=(1,)))
    step = writer.write(2, measure(np.zeros(3, np.float32)))
    assert step.text == "Ж"


def test_a_stop_string_in_the_kept_prefix_does_not_end_what_follows():
    stepper = ByteStepper(b"ab.cd.ef")
    writer = Writer(stepper, "t", Job(prefix=(1, 2, 3), stop=(".", "never", ".ce")))
    row = measure(np.zeros(stepper.facts.n_vocab, np.float32))
    assert [writer.write(token, row).ends for token in (4, 5, 6)] == [False, False, True]
    across = Writer(stepper, "t", Job(prefix=(1, 2, 3), stop=(".", ".c")))
    assert across.write(4, row).ends


def test_plain_stops_at_the_end_token_without_writing_its_text():
    stepper = ToyStepper(end_bias=50.0)
    seq = stepper.open()
    steps, reason = collect(plain(Writer(stepper, "t", Job()), seq, stepper.prefill(seq, PROMPT)))
    assert reason == "end"
    assert [(step.token, step.text) for step in steps] == [(END, "")]


def test_plain_stops_at_a_stop_text_across_tokens():
    stepper = ToyStepper(seed=1, end_bias=-50.0)
    seq = stepper.open()
    full, _ = collect(plain(Writer(stepper, "t", Job(max_tokens=30)), seq, stepper.prefill(seq, PROMPT)))
    text = "".join(step.text for step in full)
    stop = text[9:12]
    seq = stepper.open()
    steps, reason = collect(plain(Writer(stepper, "t", Job(stop=(stop,))), seq, stepper.prefill(seq, PROMPT)))
    assert reason == "stop"
    assert "".join(step.text for step in steps) == text[: text.index(stop) + 3]


def test_same_seed_same_text_and_resuming_goes_on_as_it_would_have():
    def write(seed, prefix=()):
        stepper = ToyStepper(seed=1, end_bias=-50.0)
        seq = stepper.open()
        job = Job(Sampling(temperature=1.0, seed=seed), max_tokens=30 - len(prefix), prefix=prefix)
        logits = stepper.prefill(seq, [*PROMPT, *prefix])
        steps, _ = collect(plain(Writer(stepper, "t", job), seq, logits))
        return [*prefix, *(step.token for step in steps)]

    assert write(5) == write(5)
    assert write(5) != write(6)
    assert write(5, tuple(write(5)[:11])) == write(5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_branch_writes_what_each_row_would_write_alone(temperature):
    def job():
        return Job(Sampling(temperature=temperature, seed=3), max_tokens=12)

    stepper = ToyStepper(seed=1, end_bias=-50.0)
    base = stepper.open()
    logits = stepper.prefill(base, PROMPT)
    writers = [Writer(stepper, "t", job(), seq=i) for i in range(3)]
    steps, reasons = collect(branch(writers, [stepper.fork(base) for _ in writers], logits))
    assert reasons == ["length"] * 3
    rows = [[step.token for step in steps if step.seq == i] for i in range(3)]
    assert len({tuple(row) for row in rows}) == 3
    for i, row in enumerate(rows):
        alone = ToyStepper(seed=1, end_bias=-50.0)
        seq = alone.open()
        given = row[:1] if temperature == 0 else []
        rest = Job(job().sampling, 12 - len(given), prefix=tuple(given))
        expected, _ = collect(plain(Writer(alone, "t", rest, seq=i), seq, alone.prefill(seq, [*PROMPT, *given])))
        assert row == [*given, *(step.token for step in expected)]


@pytest.mark.parametrize("width", [1, 2, 3, 256])
def test_score_judges_every_token_from_the_text_before_it(width, monkeypatch):
    monkeypatch.setattr("backends.decoders.score._CELLS", 8 * width)
    low, high = ToyStepper(noise=0.8, tier_seed=7), ToyStepper()
    reply = [2, 6, 1, 7, 3, 3, 2]
    a, b = high.open(), low.open()
    result = score(high, a, reply, high.prefill(a, PROMPT), against=(low, b, low.prefill(b, PROMPT)))
    assert [judgement.token for judgement in result] == reply
    for i, judgement in enumerate(result):
        before = [*PROMPT, *reply[:i]]
        ours, theirs = measure(high.logits_after(before)), measure(low.logits_after(before))
        assert judgement.best == ours.best
        assert judgement.p == pytest.approx(ours.p(reply[i]), rel=1e-5)
        assert judgement.kl == pytest.approx(divergence(ours, theirs), abs=1e-6)
        assert (judgement.margin == 0) == (judgement.best == judgement.token)


def test_lookup_finds_the_continuation_of_a_repeated_passage():
    lookup = Lookup([1, 2, 3, 4, 5, 6, 7, 9, 1, 2, 3])
    assert lookup.draft()[:4] == [4, 5, 6, 7]
    lookup.extend([8])
    assert lookup.draft() == []


def test_failed_lookups_pause():
    lookup = Lookup([1, 2, 3, 4, 1, 2, 3])
    assert lookup.draft()
    lookup.judge(4, 0)
    assert [bool(lookup.draft()) for _ in range(3)] == [False, False, True]
