"""From the chunks of a server to the events of a reply.

Steps of a remote reply have token -1 (the server's ids mean nothing here): their text may be shown and stored, but they
cannot be handed to a local model. Where the server gives no log-probabilities, a step is one piece of text, written as
certain (p 1, entropy 0, density 0), and a Notice says so.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp
from time import monotonic

from backends.remote.chunks import Chunk, Token
from backends.types import Alternative, Decoder, Done, Event, Notice, Prefill, Request, Step, Timing, Usage

UNKNOWN = -1
"""Token id of remote steps."""
CERTAIN = 10.0
"""Margin of a step without log-probabilities, nats: the cap the signals use for "no doubt"."""
REASONS = {"length": "length"}


@dataclass(slots=True)
class Reply:
    """A reply as far as it has come."""

    begun: bool = False
    first: float = 0.0
    """When the first text came, monotonic seconds."""
    steps: int = 0
    usage: tuple[int, int, int] | None = None
    finishes: dict[int, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    decoders: dict[int, codecs.IncrementalDecoder] = field(default_factory=dict)

    def add(self, chunk: Chunk, tier: str) -> Iterator[Event]:
        """Take one chunk in; yields what it adds."""
        self.usage = chunk.usage or self.usage
        self.seen.add(chunk.index)
        if chunk.finish:
            self.finishes[chunk.index] = chunk.finish
        if not chunk.text and not chunk.tokens:
            return
        if not self.begun:
            self.begun, self.first = True, monotonic()
            yield Prefill(0, 0, 0)
            if not chunk.tokens:
                yield Notice(f"The {tier} tier gives no log-probabilities: density is not shown for its replies.")
        for step in self._steps(chunk, tier):
            self.steps += 1
            yield step

    def problem(self) -> str:
        """Why a stream that has ended is not a whole reply; empty when it is."""
        if self.finishes and self.seen <= set(self.finishes) | {0}:
            return ""
        return "it closed the connection in the middle of the reply" if self.begun else "it sent no reply"

    def _steps(self, chunk: Chunk, tier: str) -> Iterator[Step]:
        if not chunk.tokens:
            yield Step(UNKNOWN, chunk.text, tier, p=1.0, entropy=0.0, margin=CERTAIN, density=0.0, seq=chunk.index)
            return
        decoder = self.decoders.setdefault(chunk.index, codecs.getincrementaldecoder("utf-8")("replace"))
        for token in chunk.tokens:
            yield _step(token, decoder.decode(token.raw), tier, chunk.index)


def _step(token: Token, text: str, tier: str, seq: int) -> Step:
    """One step from a token with log-probabilities; density by the rule for uncalibrated models."""
    from backends.gate import DEFAULT_WEIGHTS

    known = len(token.top) > 1
    margin = token.margin if known else CERTAIN
    slope = -DEFAULT_WEIGHTS["margin"]
    return Step(
        UNKNOWN,
        text,
        tier,
        p=exp(token.logprob),
        entropy=token.entropy if known else 0.0,
        margin=margin,
        density=1.0 / (1.0 + exp(min(slope * margin, 50.0))),
        seq=seq,
        alternatives=tuple(Alternative(UNKNOWN, other, exp(logprob), tier) for other, logprob in token.top),
    )


def done(reply: Reply, request: Request, start: float) -> Done:
    """The closing event; a reply without finish reason was cancelled."""
    now = monotonic()
    first = reply.first or now
    prompt, cached, written = reply.usage or (0, 0, reply.steps)
    finish = reply.finishes.get(0, "")
    reason = REASONS.get(finish, "end") if finish else "cancelled"
    return Done(Usage(prompt, cached, written), Timing(first - start, now - first), reason, Decoder.PLAIN)
