"""One policy on one prompt: the reply, what it cost, and what the 16-bit model thinks of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter

from agent.calibrate.prompts import Prompt
from agent.measure.frontier.gates import run_with_tracker
from agent.measure.frontier.policies import Policy
from backends.errors import BackendError
from backends.ladder import Ladder
from backends.types import Decoder, Done, Event, Failed, Request, Sampling, Step, Timing, Usage


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
    start = perf_counter()
    steps, done = _write(ladder, request, policy, number)
    seconds = perf_counter() - start
    spoke = policy.tier
    if policy.kind == "turn" and steps and fmean(step.density for step in steps) >= policy.turn_threshold:
        again, second = _write(ladder, replace(request, tier=policy.high), policy, number)
        seconds = perf_counter() - start
        steps, done, spoke = again, _sum(done, second), policy.high
    reply = [*begin, *(step.token for step in steps)]
    judged = ladder.score(prompt.messages, reply, top, spoke if spoke != top else "").judgements[len(begin) :]
    text = "".join(step.text for step in steps)
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
        text,
        sum(decided),
        sum(judgement.best == judgement.token for judgement in judged),
        tuple(near if mine else kl for mine, near, kl in zip(decided, closely, own, strict=True)),
        seconds,
        done.timing.decode_s,
        done.timing.gate_s,
        prompt.answer.casefold() in (prompt.begin + text).casefold() if prompt.answer else None,
    )


def forget(ladder: Ladder, policy: Policy) -> None:
    """Empty the caches of a policy's tiers: every policy reads the prompt itself."""
    for tier in policy.tiers:
        reader = ladder.reader(tier)
        reader.make_room(reader.stepper.facts.n_ctx)


def _write(ladder: Ladder, request: Request, policy: Policy, number: int) -> tuple[list[Step], Done]:
    if policy.kind in ("random", "oracle"):
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
