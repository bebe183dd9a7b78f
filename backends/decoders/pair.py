"""Two tiers that hold the same text: what the decoders over a pair share.

Where the caches fit each other, the high tier's cache of the tokens it has just read takes the place of the low tier's:
the text so far is then read high and spoken low all along, not in the prompt alone. The low tier forks less often on
it, and copying a few tokens' cells costs less than a hundredth of the step that computed them (docs/precision.md).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from backends.decoders.plain import plain
from backends.decoders.writer import Counts, Writer
from backends.errors import BackendError, CacheError, ContextFull
from backends.stepper import Feed, Logits, Stepper
from backends.types import Notice, Step


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
    lost: bool = False
    """Whether the high tier failed on the way; the rest was then written by the low one alone."""

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


class HighLost(Exception):
    """The high tier failed; the text so far stands and ``logits`` (low) are those of the next position."""

    def __init__(self, cause: BackendError | MemoryError, logits: Logits) -> None:
        super().__init__(str(cause) or "not enough memory")
        self.logits = logits


def to_the_end(pair: Pair, steps: Generator[Step | Notice, None, str]) -> Generator[Step | Notice, None, str]:
    """Carry a decoder to its end: a full context ends the reply, and without the high tier the low one goes on."""
    try:
        return (yield from steps)
    except ContextFull:
        return "context"
    except HighLost as lost:
        pair.lost = True
        yield Notice(f"The {pair.high_tier} tier failed ({lost}); the reply goes on at {pair.writer.tier}.")
        return (yield from plain(pair.writer, pair.low_seq, lost.logits))
