"""Exact speculation: the tokens the gate lets pass are drafts, and the high tier judges each of them.

The low tier drafts until it doubts. One batched step of the high tier then judges all drafts, the first rejected one is
replaced and what follows is rolled back. The gate has become the rule for the length of drafts: greedy text is the high
tier's own; sampled text follows the acceptance rule of Leviathan et al. 2023, so its distribution is the high tier's
own. Where the context repeats, prompt lookup drafts first.

The doubtful token ends a draft but belongs to it: the low tier has already chosen it, judging it costs one more column
of a step that is made anyway, and at least every other time it is right, which wins the token after it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from backends.decoders.lookup import Lookup
from backends.decoders.pair import HighLost, Pair, to_the_end
from backends.decoders.writer import Writer
from backends.errors import BackendError, Cancelled, ContextFull
from backends.sampling import Distribution, distribution, draw, uniform
from backends.signals import Signals, measure
from backends.stepper import Logits, Stepper
from backends.types import Notice, Step, Why

LONGEST_DRAFT = 17
"""Tokens drafted at most. A step of 18 tokens is still made in few passes over the weights; in longer drafts the last
tokens are judged too seldom to pay (measured by replaying drafts with the step costs of bench/: docs/precision.md)."""


def speculative(pair: Pair, logits: Logits, high_logits: Logits | None = None) -> Generator[Step | Notice, None, str]:
    """Write the high tier's own text until the reply ends; drafts end where ``pair.writer.job.gate`` fires.

    Takes and returns what ``gated`` does.
    """
    return to_the_end(pair, _speculative(pair, logits, high_logits))


@dataclass(slots=True)
class _Draft:
    """Tokens proposed for the next positions; ``signals[i]`` and ``q[i]`` are None for looked-up tokens."""

    tokens: list[int] = field(default_factory=list)
    signals: list[Signals | None] = field(default_factory=list)
    q: list[Distribution | None] = field(default_factory=list)
    fed: int = 0
    """How many of the tokens the low tier has read: none of those looked up, all but the last of its own."""
    doubt: tuple[int, Signals] | None = None
    """The low tier's choice and signals at the position after the draft, where it has them."""
    looked_up: bool = False


def _speculative(pair: Pair, logits: Logits, high_logits: Logits | None) -> Generator[Step | Notice, None, str]:
    writer, low = pair.writer, pair.writer.stepper
    lookup = Lookup([*writer.job.prompt, *writer.tokens])
    first = high_logits.copy() if high_logits is not None else None
    unread_low: list[int] = []  # accepted tokens the low tier has not read (it did not draft them)
    while True:
        # 1) Draft: from the context where it repeats, else by the low tier until it doubts.
        draft = _look_up(lookup, writer, low)
        if not draft.tokens:
            if unread_low:
                logits = pair.ask_low(unread_low)
                unread_low = []
            logits = _draft(pair, logits, draft)
        start_of_unread = pair.high.length(pair.high_seq)
        base = start_of_unread + len(pair.unread)
        # 2) The high tier reads everything pending in one step: one row per drafted token, one for the next.
        try:
            rows = _judge_rows(pair, draft, first)
        except (Cancelled, ContextFull):
            raise
        except (BackendError, MemoryError) as error:
            reason = yield from _keep_drafts(writer, draft)
            if reason:
                return reason
            raise HighLost(error, pair.ask_low(unread_low) if unread_low else logits) from error
        first = None
        # 3) Accept up to the first rejected token, which the high tier's own choice replaces. Cut both caches back to
        #    the accepted text; the last token is unread by both tiers.
        steps, reason = _verdict(pair, draft, rows)
        accepted = len(steps) - 1
        pair.counts.drafted += len(draft.tokens)
        pair.counts.accepted += accepted
        pair.high.truncate(pair.high_seq, base + accepted)
        pair.unread = [steps[-1].token]
        if draft.looked_up:
            lookup.judge(len(draft.tokens), accepted)
        if pair.hand_back(start_of_unread):
            unread_low = [steps[-1].token]
        else:
            if not draft.looked_up:
                low.truncate(pair.low_seq, base + accepted)
            unread_low += [step.token for step in steps[min(accepted, draft.fed) :]]
        # 4) Hand out what is certain.
        lookup.extend([step.token for step in steps])
        yield from steps
        if reason:
            return reason


def _look_up(lookup: Lookup, writer: Writer, low: Stepper) -> _Draft:
    room = writer.job.max_tokens - (len(writer.tokens) - len(writer.job.prefix)) - 1
    tokens = lookup.draft()[: max(room, 0)]
    for i, token in enumerate(tokens):
        if low.is_end(token):
            tokens = tokens[:i]
            break
    return _Draft(tokens, [None] * len(tokens), [None] * len(tokens), looked_up=bool(tokens))


def _draft(pair: Pair, logits: Logits, draft: _Draft) -> Logits:
    """Let the low tier write ahead until the gate fires. Returns the last low logits it computed."""
    writer, gate = pair.writer, pair.writer.job.gate
    room = writer.job.max_tokens - (len(writer.tokens) - len(writer.job.prefix)) - 1
    longest = min(gate.max_pending, LONGEST_DRAFT, room)
    greedy = writer.job.sampling.temperature <= 0
    while True:
        start = perf_counter()
        token, signals = writer.choose(logits, draft.tokens)
        density = writer.tracker.density(signals)
        pair.counts.gate_s += perf_counter() - start
        if len(draft.tokens) >= longest:
            draft.doubt = (token, signals)
            return logits
        recent = [*writer.tokens, *draft.tokens]
        draft.q.append(None if greedy else distribution(logits, writer.job.sampling, recent))
        draft.tokens.append(token)
        draft.signals.append(signals)
        if density >= gate.threshold or writer.stepper.is_end(token):
            return logits
        try:
            logits = pair.ask_low((token,))
        except ContextFull:  # what was drafted is still judged; the next round ends the reply
            return logits
        draft.fed += 1


def _judge_rows(pair: Pair, draft: _Draft, first: Logits | None) -> Logits:
    """High logits for each drafted position and the one after, ``[len(draft) + 1, n_vocab]``."""
    if first is None:
        tokens = [*pair.unread, *draft.tokens]
        pair.unread = []
        return pair.ask_high(tokens, len(draft.tokens) + 1)
    if not draft.tokens:
        return first[np.newaxis]
    rest = pair.ask_high(draft.tokens, len(draft.tokens))
    return np.concatenate([first[np.newaxis], rest])


def _verdict(pair: Pair, draft: _Draft, rows: Logits) -> tuple[list[Step], str]:
    """Steps for the accepted drafts and for the one token the high tier adds (at least one), and why the reply ends."""
    writer: Writer = pair.writer
    steps: list[Step] = []
    for i, drafted in enumerate(draft.tokens):
        high = measure(rows[i])
        token = _accept(writer, rows[i], drafted, draft.q[i], high)
        why = Why.VERIFIED if token == drafted else Why.OVERRULED
        steps.append(_write(pair, token, draft.signals[i], high, why))
        reason = writer.ended(token)
        if token != drafted or reason:
            return steps, reason
    token, high = writer.choose(rows[-1])
    low_token, low_signals = (draft.doubt[0], draft.doubt[1]) if draft.doubt else (-1, None)
    why = Why.CONFIRMED if token == low_token else Why.OVERRULED if draft.doubt else Why.VERIFIED
    steps.append(_write(pair, token, low_signals, high, why))
    return steps, writer.ended(token)


def _accept(writer: Writer, row: Logits, drafted: int, q: Distribution | None, high: Signals) -> int:
    """The token of a drafted position: the draft itself, or what replaces it.

    Greedy: the high tier's choice. Sampling: accept with probability min(1, p/q), else draw from the normalised
    positive part of p - q (Leviathan et al. 2023); a looked-up draft is a q with all its mass on one token.
    """
    sampling = writer.job.sampling
    if sampling.temperature <= 0:
        return high.best if sampling.repetition_penalty == 1.0 else writer.choose(row)[0]
    p = distribution(row, sampling, writer.tokens)
    _, accept, again = uniform(sampling.seed, writer.seq, len(writer.tokens), 3)
    own = 1.0 if q is None else q[drafted]
    if accept * own < p[drafted]:
        return drafted
    rest = p.copy()
    if q is None:
        rest[drafted] = max(p[drafted] - 1.0, 0.0)
    else:
        rest = np.maximum(p - q, 0.0)
    return draw(rest, float(again)) if rest.sum() > 0 else draw(p, float(again))


def _write(pair: Pair, token: int, low: Signals | None, high: Signals, why: Why) -> Step:
    pair.counts.high_tokens += 1
    return pair.writer.write(
        token, low or high, tier=pair.high_tier, why=why, high=high, high_tier=pair.high_tier
    )  # fmt: skip


def _keep_drafts(writer: Writer, draft: _Draft) -> Generator[Step, None, str]:
    """The high tier is lost: what the low tier drafted and read stands as its own text; it goes on from there.

    Returns:
        (through StopIteration) why the reply ends with them, or an empty string.
    """
    for token, signals in zip(draft.tokens[: draft.fed], draft.signals, strict=False):
        if signals is not None:
            yield writer.write(token, signals)
            reason = writer.ended(token)
            if reason:
                return reason
    return ""
