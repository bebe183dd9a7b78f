"""What every decoder must do over two tiers of one model, whichever engine runs them.

Subclass ``DecoderContract`` in a test module and give it a ``ladder`` fixture: a ladder with a 4-bit and a 16-bit tier
that was given ``n_parallel=3`` and a context of at least 256 tokens.
"""

from __future__ import annotations

from dataclasses import replace

from backends.ladder import Ladder
from backends.types import FOUR, SIXTEEN, Decoder, Done, Event, Gate, Message, Request, Sampling, Step, Why

QUESTIONS = (
    "The eye sees",
    "Who was the king?",
    "Tell me about the sea.",
    "Where is the old church?",
    "Write a story.",
)
"""Whether the tiers differ on one question depends on the processor; on all of these they never agree."""


def asked(question: str) -> Request:
    return Request((Message("user", question),), FOUR, high=SIXTEEN, max_tokens=48)


ASK = asked(QUESTIONS[1])


def play(ladder: Ladder, request: Request) -> tuple[list[Step], Done]:
    events: list[Event] = []
    ladder.run(request, events.append)
    done = events[-1]
    assert isinstance(done, Done), done
    return [event for event in events if isinstance(event, Step)], done


def tokens(steps: list[Step]) -> list[int]:
    return [step.token for step in steps]


class DecoderContract:
    """The tests. The ladder is shared; every test finds no sequence but the kept prefixes of the ones before."""

    def test_plain_is_the_same_every_time(self, ladder: Ladder) -> None:
        low, _ = play(ladder, ASK)
        again, done = play(ladder, ASK)
        assert tokens(low) == tokens(again) and done.usage.cached_tokens > 0
        assert self.forked(ladder), "the tiers must differ somewhere for the other tests to mean anything"

    def forked(self, ladder: Ladder) -> Request | None:
        """A question on which the tiers differ."""
        for question in QUESTIONS:
            ask = replace(asked(question), high="")
            if tokens(play(ladder, ask)[0]) != tokens(play(ladder, replace(ask, tier=SIXTEEN))[0]):
                return asked(question)
        return None

    def test_speculative_is_the_high_tiers_own_text(self, ladder: Ladder) -> None:
        exact, _ = play(ladder, replace(ASK, tier=SIXTEEN, high=""))
        steps, done = play(ladder, replace(ASK, decoder=Decoder.SPECULATIVE))
        assert tokens(steps) == tokens(exact)
        assert done.decoder is Decoder.SPECULATIVE and 0 < done.usage.high_steps < len(steps)

    def test_a_gate_that_always_fires_is_the_high_tiers_own_text(self, ladder: Ladder) -> None:
        reasons = set()
        for ask in map(asked, QUESTIONS):
            exact, _ = play(ladder, replace(ask, tier=SIXTEEN, high=""))
            steps, _ = play(ladder, replace(ask, decoder=Decoder.GATED, gate=Gate(threshold=0.0)))
            assert tokens(steps) == tokens(exact)
            reasons |= {step.why for step in steps}
        assert reasons == {Why.CONFIRMED, Why.OVERRULED}

    def test_a_gate_that_never_fires_is_the_low_tiers_own_text(self, ladder: Ladder) -> None:
        low, _ = play(ladder, replace(ASK, high=""))
        gate = Gate(threshold=1.1, max_pending=1000)
        steps, done = play(ladder, replace(ASK, decoder=Decoder.GATED, gate=gate, read_high=False))
        assert tokens(steps) == tokens(low) and done.usage.high_tokens == 0

    def test_reading_high_and_speaking_low(self, ladder: Ladder) -> None:
        steps, _ = play(ladder, replace(ASK, decoder=Decoder.GATED, read_high=True))
        assert len(steps) > 1
        assert {step.tier for step in steps} <= {FOUR, SIXTEEN}

    def test_branches_share_one_prefix(self, ladder: Ladder) -> None:
        sampling = Sampling(temperature=1.0, seed=3)
        steps, done = play(ladder, replace(ASK, high="", n=3, sampling=sampling, max_tokens=12))
        by_seq = [[step.token for step in steps if step.seq == seq] for seq in range(3)]
        assert all(by_seq) and len({tuple(ids) for ids in by_seq}) > 1
        assert done.usage.completion_tokens == len(steps)

    def test_greedy_branches_go_on_like_plain_text(self, ladder: Ladder) -> None:
        """Row i begins with the i-th best token and is greedy from there, so row 0 is the plain text."""
        plain, _ = play(ladder, replace(ASK, high="", max_tokens=16))
        steps, _ = play(ladder, replace(ASK, high="", n=3, max_tokens=16))
        rows = [[step.token for step in steps if step.seq == seq] for seq in range(3)]
        assert rows[0] == tokens(plain)
        for row in rows[1:]:
            rest, _ = play(ladder, replace(ASK, high="", prefix=(row[0],), max_tokens=15))
            assert [row[0], *tokens(rest)] == row

    def test_the_fork_map_marks_where_the_high_tier_differs(self, ladder: Ladder) -> None:
        ask = self.forked(ladder)
        assert ask is not None
        low, _ = play(ladder, replace(ask, high=""))
        exact, _ = play(ladder, replace(ask, tier=SIXTEEN, high=""))
        forks = ladder.score(ask.messages, tokens(low), SIXTEEN, against=FOUR)
        first = next(i for i, (a, b) in enumerate(zip(low, exact, strict=False)) if a.token != b.token)
        assert min(forks.forks()) == first
        assert forks.judgements[first].best == exact[first].token
        assert all(judgement.kl >= 0 for judgement in forks.judgements)
        own = ladder.score(ask.messages, tokens(exact), SIXTEEN)
        assert own.forks() == []
