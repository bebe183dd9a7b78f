"""One policy on one prompt: the reply, what it cost, and what the 16-bit model thinks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter
from typing import cast

import numpy as np

from agent.calibrate.prompts import Prompt
from agent.measure.frontier.gates import run_with_tracker
from agent.measure.frontier.policies import Policy
from agent.measure.frontier.wrapped import Wrapped
from backends.decoders.score import score
from backends.errors import BackendError
from backends.ladder import Ladder
from backends.stepper import Feed, Logits, Stepper
from backends.types import Decoder, Done, Event, Failed, Judgement, Request, Sampling, Step, Timing, Usage

OWN_LOOP = ("own-cache", "random", "oracle")
"""Kinds written by ``gates.run_with_tracker``."""
MIXED = ("gated", "entropy", *OWN_LOOP)
"""Kinds that speak from a cache both tiers have filled: nothing but their own logits says what they spoke from."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened."""

    policy: str
    prompt: int
    tokens: tuple[int, ...]
    text: str
    high: int
    """Tokens decided by the higher tier of the policy (by the only one, if that is the highest)."""
    agree: int
    """Tokens that are the highest tier's own first choice after the text as it stands."""
    kl: tuple[float, ...]
    """KL(highest tier || what was spoken from) per token, nats; 0 where the highest tier decided."""
    seconds: float
    """Wall time of reading and writing."""
    write_s: float
    gate_s: float
    right: bool | None
    """Whether the reply holds the known answer; ``None`` where there is none."""


def run_trial(
    ladder: Ladder, policy: Policy, prompt: Prompt, number: int, top: str, *, sampling: Sampling, tokens: int
) -> Trial:
    """Run one policy on one prompt with cold caches, then let the highest tier (``top``) read the reply."""
    begin = tuple(ladder.tokenize(prompt.begin)) if prompt.begin else ()
    request = policy.request(prompt.messages, begin, sampling, tokens)
    forget(ladder, policy)
    heard = Heard(ladder.reader(policy.tier).stepper)
    ladder.reader(policy.tier).stepper = cast("Stepper", heard)
    start = perf_counter()
    try:
        steps, done = _write(ladder, request, policy, number)
    finally:
        ladder.reader(policy.tier).stepper = heard.inner
    seconds = perf_counter() - start
    spoke = policy.tier
    if policy.kind == "turn" and steps and fmean(step.density for step in steps) >= policy.turn_threshold:
        again, second = _write(ladder, replace(request, tier=policy.high), policy, number)
        seconds = perf_counter() - start
        steps, done, spoke = again, _sum(done, second), policy.high
    reply = [*begin, *(step.token for step in steps)]
    if policy.kind in MIXED:
        text = [*ladder.reader(top).stepper.chat_prompt(prompt.messages), *begin]
        judged = _heard_by(ladder, top, text, [step.token for step in steps], heard.rows)
    else:
        against = spoke if spoke != top else ""
        judged = list(ladder.score(prompt.messages, reply, top, against).judgements[len(begin) :])
    written = "".join(step.text for step in steps)
    closer = policy.high or top
    decided = [policy.kind == "speculative" or step.tier == closer for step in steps]
    if closer == top:
        closely = [0.0] * len(judged)
    else:
        closely = [j.kl for j in ladder.score(prompt.messages, reply, top, closer).judgements[len(begin) :]]
    own = [0.0] * len(judged) if spoke == top else [judgement.kl for judgement in judged]
    return Trial(
        policy.name,
        number,
        tuple(step.token for step in steps),
        written,
        sum(decided),
        sum(judgement.best == judgement.token for judgement in judged),
        tuple(near if mine else kl for mine, near, kl in zip(decided, closely, own, strict=True)),
        seconds,
        done.timing.decode_s,
        done.timing.gate_s,
        prompt.answer.casefold() in (prompt.begin + written).casefold() if prompt.answer else None,
    )


class Heard(Wrapped):
    """Remembers the logits of every step of one token: what a reply was spoken from."""

    def __init__(self, inner: Stepper) -> None:
        super().__init__(inner)
        self.rows: list[Logits] = []

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """The step, remembered."""
        found = self.inner.step(feeds)
        if len(feeds) == 1 and len(feeds[0].tokens) == feeds[0].outputs == 1:
            self.rows.append(found[0][0].copy())
        return found


class _Again:
    """What was heard, once more, as the step of a text that is read."""

    def __init__(self, rows: Sequence[Logits]) -> None:
        self._rows = list(rows)

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """The next rows."""
        count = feeds[0].outputs
        taken, self._rows = self._rows[:count], self._rows[count:]
        return [np.stack(taken)]


def _heard_by(
    ladder: Ladder, top: str, text: Sequence[int], reply: Sequence[int], rows: Sequence[Logits]
) -> list[Judgement]:
    """The highest tier's judgement of a reply, against the logits it was spoken from (those after its first token)."""
    judge = ladder.reader(top)
    read = judge.read(text)
    # The first token of such replies is the high tier's own: its divergence is not asked for.
    speaker = (cast("Stepper", _Again(rows)), 0, read.logits)
    judgements = score(judge.stepper, read.kept.seq, reply, read.logits, against=speaker)
    judge.settle(read.kept, [*text, *reply])
    return judgements


def forget(ladder: Ladder, policy: Policy) -> None:
    """Empty the caches of a policy's tiers: every policy reads the prompt itself."""
    for tier in policy.tiers:
        reader = ladder.reader(tier)
        reader.make_room(reader.stepper.facts.n_ctx)


def _write(ladder: Ladder, request: Request, policy: Policy, number: int) -> tuple[list[Step], Done]:
    if policy.kind in OWN_LOOP:
        return run_with_tracker(ladder, request, policy, number)
    events: list[Event] = []
    ladder.run(request, events.append)
    last = events[-1]
    if isinstance(last, Failed):
        raise BackendError(last.text)
    if not isinstance(last, Done) or (request.decoder is not Decoder.PLAIN and last.decoder is not request.decoder):
        raise BackendError(f"{policy.name} was not written as asked: a tier was lost")
    return [event for event in events if isinstance(event, Step)], last


def _sum(first: Done, second: Done) -> Done:
    usage, a, b = second.usage, first.timing, second.timing
    return replace(
        second,
        usage=Usage(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.completion_tokens),
        timing=Timing(a.prefill_s + b.prefill_s, a.decode_s + b.decode_s, b.decode_s, a.gate_s),
    )
