"""The low tier speaks; where the gate fires, the high tier takes all pending tokens and decides. One loop, one switch.

Not verified (``gated``): tokens the gate lets pass stand as the low tier wrote them. At a firing the high tier reads
everything pending in one batched step, so its cache is always computed from the text as it stands, and its own choice
is written at the doubtful position.

Verified (``speculative``): the tokens the gate lets pass are drafts. The same batched step also judges each of them,
the first rejected one is replaced and what follows is rolled back. The gate has become the draft-length rule of exact
speculation: greedy text is the high tier's own; sampled text follows the acceptance rule of Leviathan et al. 2023, so
its distribution is the high tier's own. Where the context repeats, prompt lookup drafts first.

Where the caches fit each other, the high tier's cache of the tokens it has just read takes the place of the low tier's:
the text so far is then read high and spoken low all along, not in the prompt alone. The low tier forks less often on
it, and copying a few tokens' cells costs less than a hundredth of the step that computed them (docs/precision.md).

The doubtful token ends a draft but belongs to it: the low tier has already chosen it, judging it costs one more column
of a step that is made anyway, and at least every other time it is right, which wins the token after it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from backends.decoders.lookup import Lookup
from backends.decoders.plain import plain
from backends.decoders.writer import Counts, Writer
from backends.errors import BackendError, CacheError, Cancelled, ContextFull
from backends.sampling import Distribution, distribution, draw, uniform
from backends.signals import Signals, measure
from backends.stepper import Feed, Logits, Stepper
from backends.types import Notice, Step, Why

LONGEST_DRAFT = 17
"""Tokens drafted at most. A step of 18 tokens is still made in few passes over the weights; in longer drafts the last
tokens are judged too seldom to pay (measured by replaying drafts with the step costs of bench/: docs/precision.md)."""


@dataclass(slots=True)
class Pair:
    """A speaking tier and the tier it asks, with the sequences that hold the same text on both.

    ``unread`` are tokens of the text the high tier has not read yet; at the start it is not empty unless the high
    tier's logits for the first position are given to ``gated``.
    """

    writer: Writer
    """Its stepper is the low tier."""
    low_seq: int
    high: Stepper
    high_tier: str
    high_seq: int
    unread: list[int] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    shared: bool = False
    """Whether the low tier takes over what the high tier computes (their caches fit each other)."""

    def ask_high(self, tokens: Sequence[int], outputs: int) -> Logits:
        """Feed the high tier; logits of the last ``outputs`` positions, ``[outputs, n_vocab]``."""
        start = perf_counter()
        rows = self.high.step([Feed(self.high_seq, tokens, outputs)])[0]
        self.counts.high_s += perf_counter() - start
        self.counts.high_steps += 1
        return rows

    def hand_back(self, start: int) -> bool:
        """Give the low tier the high tier's cache from position ``start`` on: both then hold the same text.

        False where that is not possible: the low tier keeps what it has, now and for the rest of the reply.
        """
        length = self.high.length(self.high_seq)
        if not self.shared or start >= length:
            return False
        began = perf_counter()
        try:
            blob = self.high.export_cache(self.high_seq, start)
            self.writer.stepper.replace_tail(self.low_seq, blob, start, length)
        except (CacheError, ContextFull):  # no room for a second copy of the end: not worth ending a reply
            self.shared = False
        self.counts.high_s += perf_counter() - began
        return self.shared

    def ask_low(self, tokens: Sequence[int]) -> Logits:
        """Feed the low tier; logits after the last token, ``[n_vocab]``."""
        start = perf_counter()
        row: Logits = self.writer.stepper.step([Feed(self.low_seq, tokens)])[0][0]
        self.counts.low_s += perf_counter() - start
        return row


def gated(
    pair: Pair, logits: Logits, *, high_logits: Logits | None = None, verify: bool = False
) -> Generator[Step | Notice, None, str]:
    """Write until the reply ends.

    Args:
        pair: The two tiers; both hold the prompt, except for ``pair.unread`` on the high tier.
        logits: Low logits after the prompt, ``[n_vocab]``.
        high_logits: High logits after the prompt when ``pair.unread`` is empty (the high tier read it): the first
            token is then the high tier's, which costs nothing.
        verify: Judge every pending token too (exact, ``speculative``).

    Returns:
        (through StopIteration) why it ended: ``end``, ``stop``, ``length`` or ``context``.
    """
    try:
        if verify:
            return (yield from _speculative(pair, logits, high_logits))
        return (yield from _gated(pair, logits, high_logits))
    except ContextFull:
        return "context"
    except _HighLost as lost:
        yield Notice(f"The {pair.high_tier} tier failed ({lost.cause}); the reply goes on at {pair.writer.tier}.")
        return (yield from plain(pair.writer, pair.low_seq, lost.logits))


class _HighLost(Exception):
    """The high tier failed; the text so far stands and ``logits`` (low) are those of the next position."""

    def __init__(self, cause: BackendError, logits: Logits) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.logits = logits


def _gated(pair: Pair, logits: Logits, high_logits: Logits | None) -> Generator[Step | Notice, None, str]:
    writer, gate, counts = pair.writer, pair.writer.job.gate, pair.counts
    while True:
        # 1) The low tier's choice, and how dense this place is.
        start = perf_counter()
        token, signals = writer.choose(logits)
        density = writer.tracker.density(signals)
        fires = density >= gate.threshold or len(pair.unread) >= gate.max_pending or high_logits is not None
        counts.gate_s += perf_counter() - start
        # 2) Where the gate fires, the high tier reads what it has not read and chooses.
        if fires:
            start_of_unread = pair.high.length(pair.high_seq)
            if high_logits is None:
                try:
                    high_logits = pair.ask_high(pair.unread, 1)[0]
                except (Cancelled, ContextFull):
                    raise
                except BackendError as error:
                    raise _HighLost(error, logits) from error
                pair.unread.clear()
            high_token, high_signals = writer.choose(high_logits)
            why = Why.CONFIRMED if high_token == token else Why.OVERRULED
            token, high_logits = high_token, None
            counts.high_tokens += 1
            pair.hand_back(start_of_unread)
            yield writer.write(
                token, signals, tier=pair.high_tier, why=why, density=density, high=high_signals,
                high_tier=pair.high_tier,
            )  # fmt: skip
        else:
            yield writer.write(token, signals, density=density)
        # 3) Hand back to the low tier.
        pair.unread.append(token)
        reason = writer.ended(token)
        if reason:
            return reason
        try:
            logits = pair.ask_low((token,))
        except ContextFull:
            return "context"


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
        except BackendError as error:
            yield from _keep_drafts(writer, draft)
            raise _HighLost(error, pair.ask_low(unread_low) if unread_low else logits) from error
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


def _keep_drafts(writer: Writer, draft: _Draft) -> Generator[Step, None, None]:
    """The high tier is lost: what the low tier drafted and read stands as its own text; it goes on from there."""
    for token, signals in zip(draft.tokens[: draft.fed], draft.signals, strict=False):
        if signals is not None:
            yield writer.write(token, signals)
