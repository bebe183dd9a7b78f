"""What every decoder needs for one continuation: text that is UTF-8 safe, running signals, provenance of each token."""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.gate import Tracker
from backends.sampling import choose
from backends.signals import Signals
from backends.stepper import Logits, Stepper
from backends.types import Alternative, Gate, Sampling, Step, Why

ALTERNATIVES = 5
"""How many of the best tokens a step lists per tier."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to write, for any decoder. ``prompt`` is only looked up (speculative drafts), never fed by a decoder."""

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 512
    gate: Gate = field(default_factory=Gate)
    prompt: Sequence[int] = ()
    prefix: Sequence[int] = ()
    """Tokens of the reply that are already there."""
    stop: tuple[str, ...] = ()


@dataclass(slots=True)
class Counts:
    """What a decoder did; filled while it runs."""

    high_tokens: int = 0
    high_steps: int = 0
    high_s: float = 0.0
    drafted: int = 0
    accepted: int = 0
    low_s: float = 0.0
    gate_s: float = 0.0
    """Seconds spent on signals and decisions (the gate's own cost)."""


@dataclass(slots=True)
class Writer:
    """One continuation being written."""

    stepper: Stepper
    tier: str
    job: Job
    seq: int = 0
    """Number of the continuation (not the engine's sequence id)."""
    tokens: list[int] = field(default_factory=list)
    """Tokens of the reply, the given prefix included."""
    tracker: Tracker = field(init=False)
    _text: codecs.IncrementalDecoder = field(init=False)
    _tail: str = field(init=False, default="")
    _fresh: int = field(init=False, default=0)
    """Characters at the end of the tail that came with the newest token."""
    _longest_stop: int = field(init=False)

    def __post_init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._longest_stop = max((len(text) for text in self.job.stop), default=0)
        self.tracker = Tracker(self.job.gate, self.text_of)
        for token in self.job.prefix:
            self._tail += self._text.decode(self.stepper.piece(token))
        self._tail = self._tail[-self._longest_stop :] if self._longest_stop else ""
        self.tokens.extend(self.job.prefix)

    def text_of(self, token: int) -> str:
        """A token's text on its own (half characters become U+FFFD)."""
        return self.stepper.piece(token).decode("utf-8", "replace")

    def choose(self, logits: Logits, drafted: Sequence[int] = ()) -> tuple[int, Signals]:
        """Draw the token of the current position (after ``drafted`` unwritten tokens) from this row of logits."""
        recent = [*self.tokens, *drafted] if drafted else self.tokens
        return choose(logits, self.job.sampling, recent, (self.seq, len(recent)))

    def write(
        self,
        token: int,
        signals: Signals,
        *,
        tier: str = "",
        why: Why = Why.SPOKE,
        density: float | None = None,
        high: Signals | None = None,
        high_tier: str = "",
    ) -> Step:
        """Append a token and describe it.

        Args:
            token: The token written.
            signals: The speaking tier's view of the position.
            tier: The tier whose choice it is (the speaking one by default).
            why: How it came to be written.
            density: If it was computed already.
            high: The high tier's view, where it was asked.
            high_tier: That tier's name.
        """
        if density is None:
            density = self.tracker.density(signals)
        own = high if high is not None and tier == high_tier else signals
        alternatives = self._alternatives(signals, high_tier if signals is high else self.tier)
        if high is not None and high is not signals:
            alternatives += self._alternatives(high, high_tier)
        text = "" if self.stepper.is_end(token) else self._text.decode(self.stepper.piece(token))
        self._tail = (self._tail + text)[-self._longest_stop - len(text) - 1 :] if self._longest_stop else ""
        self._fresh = len(text)
        self.tracker.wrote(token, signals)
        self.tokens.append(token)
        reason = self.ended(token)
        if reason:  # a reply that ends inside a character shows that it does
            text += self._text.decode(b"", final=True)
        return Step(
            token=token,
            text=text,
            tier=tier or self.tier,
            p=own.p(token),
            entropy=signals.entropy,
            margin=signals.margin if math.isfinite(signals.margin) else 1e3,
            density=density,
            why=why,
            seq=self.seq,
            alternatives=alternatives,
            ends=reason in ("end", "stop"),
        )

    def ended(self, token: int) -> str:
        """Why the reply is over after ``token`` (``end``, ``stop``, ``length``), or an empty string."""
        if self.stepper.is_end(token):
            return "end"
        # Only a stop string that the newest token completes: one in a kept prefix does not end what follows it.
        before = len(self._tail) - self._fresh + 1
        if any(self._tail.find(text, max(0, before - len(text))) >= 0 for text in self.job.stop):
            return "stop"
        if len(self.tokens) - len(self.job.prefix) >= self.job.max_tokens:
            return "length"
        return ""

    def _alternatives(self, signals: Signals, tier: str) -> tuple[Alternative, ...]:
        return tuple(
            Alternative(token, self.text_of(token), signals.p(token), tier) for token in signals.top(ALTERNATIVES)
        )
