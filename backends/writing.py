"""One request under way: who reads the prompt, which decoder writes, what stays in the caches afterwards."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from backends.decoders.branch import branch
from backends.decoders.gated import gated
from backends.decoders.pair import Pair
from backends.decoders.plain import plain
from backends.decoders.speculative import speculative
from backends.decoders.writer import Counts, Job, Writer
from backends.errors import CacheError, Cancelled
from backends.reading import Kept, Read, Reader, hand_over, shares_caches
from backends.stepper import Logits
from backends.types import Decoder, Done, Event, Notice, Prefill, Request, Step, Timing, Usage

log = logging.getLogger("fovea.backends")

T = TypeVar("T")

_READ_HIGH_FROM = 0.5
"""The high tier reads unless its measured reading is slower than this share of the low tier's."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """The prompt, read for two tiers."""

    low: Kept
    high: Kept
    low_logits: Logits
    high_logits: Logits | None
    """None when the high tier has not read the last tokens: they are in ``unread``."""
    unread: list[int]


class Writing:
    """One request. ``go`` carries it out and ends with a ``Done`` event."""

    def __init__(
        self,
        request: Request,
        low: Reader,
        high: Reader | None,
        prompt: list[int],
        emit: Callable[[Event], None],
        cancelled: threading.Event,
    ) -> None:
        self._request, self._low, self._high = request, low, high
        self._prompt, self._emit, self._cancelled = prompt, emit, cancelled
        self._text = [*prompt, *request.prefix]
        self._counts = Counts()
        self._prefill_s = 0.0
        self._cached = 0

    def go(self) -> None:
        """Read, write, and tell how it went."""
        request = self._request
        if request.n > 1:
            self._branch()
        elif self._high is not None and request.decoder is not Decoder.PLAIN:
            self._gated(self._high)
        elif self._high is not None and request.read_high:
            self._read_high_speak_low(self._high)
        else:
            self._plain(self._low)

    # Decoders -----------------------------------------------------------------------------------------------------

    def _plain(self, reader: Reader) -> None:
        writer = self._writer(reader)
        read = self._read(reader)
        reader.make_room(self._reply_room(reader, 1), [read.kept])
        start = perf_counter()
        reason = self._drive(plain(writer, read.kept.seq, read.logits))
        reader.settle(read.kept, [*self._prompt, *writer.tokens])
        written = len(writer.tokens) - len(self._request.prefix)
        if written >= 16:
            reader.write_speed = written / (perf_counter() - start)
        self._done([writer], reason, start, Decoder.PLAIN)

    def _read_high_speak_low(self, high: Reader) -> None:
        writer = self._writer(self._low)
        prompt = self._read_at_high(high)
        self._low.make_room(self._reply_room(self._low, 1), [prompt.low])
        start = perf_counter()
        reason = self._drive(plain(writer, prompt.low.seq, prompt.low_logits))
        self._low.settle(prompt.low, [*self._prompt, *writer.tokens])
        high.settle(prompt.high, self._text)
        self._done([writer], reason, start, Decoder.PLAIN)

    def _gated(self, high: Reader) -> None:
        verify = self._request.decoder is Decoder.SPECULATIVE
        if verify and not (self._low.stepper.facts.can_truncate and high.stepper.facts.can_truncate):
            self._emit(Notice(f"This model cannot take drafts back; the reply is written at {high.name} plainly."))
            self._plain(high)
            return
        writer = self._writer(self._low)
        prompt = self._read_at_high(high) if self._reads_high(high) else self._read_at_low(high)
        pair = Pair(
            writer, prompt.low.seq, high.stepper, high.name, prompt.high.seq, list(prompt.unread), self._counts,
            shares_caches(self._low, high),
        )  # fmt: skip
        self._low.make_room(self._reply_room(self._low, 1), [prompt.low])
        high.make_room(self._reply_room(high, 1), [prompt.high])
        start = perf_counter()
        write = speculative if verify else gated
        reason = self._drive(write(pair, prompt.low_logits, prompt.high_logits))
        self._low.settle(prompt.low, [*self._prompt, *writer.tokens])
        high.settle(prompt.high, [*self._prompt, *writer.tokens])
        self._done([writer], reason, start, Decoder.PLAIN if pair.lost else self._request.decoder)

    def _branch(self) -> None:
        read = self._read(self._low)
        start = perf_counter()
        writers = [self._writer(self._low, i) for i in range(self._request.n)]
        self._low.make_room(self._reply_room(self._low, len(writers)), [read.kept])
        rows = [self._low.fork(read.kept) for _ in writers]
        reasons = self._drive(branch(writers, [row.seq for row in rows], read.logits))
        self._low.settle(read.kept, self._text)
        for writer, row in zip(writers, rows, strict=True):
            self._low.settle(row, [*self._prompt, *writer.tokens])
        if not isinstance(reasons, str):
            reasons = next((reason for reason in reasons if reason != "end"), "end")
            self._tell_apart(writers)
        self._done(writers, reasons, start, Decoder.PLAIN)

    def _tell_apart(self, writers: Sequence[Writer]) -> None:
        """Say when continuations came out alike: at a low temperature they often do."""
        different = len({tuple(writer.tokens) for writer in writers})
        if different < len(writers):
            count = "All" if different == 1 else f"Only {different} of"
            end = "are the same" if different == 1 else "differ"
            self._emit(Notice(f"{count} {len(writers)} continuations {end}; a higher temperature varies them more."))

    def _reply_room(self, reader: Reader, rows: int) -> int:
        """Cells the reply may need, as far as the context has them."""
        return min(self._request.max_tokens * rows, reader.stepper.facts.n_ctx - len(self._text))

    # Reading ------------------------------------------------------------------------------------------------------

    def _read(self, reader: Reader) -> Read:
        read = reader.read(self._text, lambda done, total, cached: self._emit(Prefill(done, total, cached)))
        self._prefill_s += read.seconds
        self._cached = max(self._cached, read.cached)
        return read

    def _reads_high(self, high: Reader) -> bool:
        if self._request.decoder is Decoder.SPECULATIVE:
            return True  # exactness: the high tier's text needs the high tier's own cache
        if self._request.read_high is not None:
            return self._request.read_high
        if not self._low.read_speed or not high.read_speed:
            return True
        return high.read_speed >= _READ_HIGH_FROM * self._low.read_speed

    def _read_at_high(self, high: Reader) -> _Prompt:
        """The high tier reads, the low tier gets its cache: one prefill."""
        read = self._read(high)
        start = perf_counter()
        try:
            taken = hand_over(high, read.kept, self._low)
        except CacheError as error:
            log.info("reading again at %s: %s", self._low.name, error)
            own = self._read(self._low)
            return _Prompt(own.kept, read.kept, own.logits, read.logits, [])
        self._prefill_s += perf_counter() - start
        return _Prompt(taken, read.kept, read.logits, read.logits, [])

    def _read_at_low(self, high: Reader) -> _Prompt:
        """The low tier reads; the high tier gets its cache, or goes on from its own where little is missing."""
        read = self._read(self._low)
        missing = len(self._text) - high.common(self._text)
        if missing <= self._request.gate.max_pending // 2:
            kept, unread = high.continue_at(self._text)
            return _Prompt(read.kept, kept, read.logits, None, unread)
        start = perf_counter()
        try:
            kept = hand_over(self._low, read.kept, high, len(self._text) - 1)
        except CacheError as error:
            log.info("reading again at %s: %s", high.name, error)
            own = self._read(high)
            return _Prompt(read.kept, own.kept, read.logits, own.logits, [])
        self._prefill_s += perf_counter() - start
        return _Prompt(read.kept, kept, read.logits, None, self._text[-1:])

    # Writing ------------------------------------------------------------------------------------------------------

    def _writer(self, reader: Reader, row: int = 0) -> Writer:
        request = self._request
        job = Job(request.sampling, request.max_tokens, request.gate, self._prompt, request.prefix, request.stop)
        return Writer(reader.stepper, reader.name, job, request.first_seq + row)

    def _drive(self, steps: Generator[Step | Notice, None, T] | Generator[Step, None, T]) -> T | str:
        """Emit every step until the decoder returns, or a stop arrives."""
        while not self._cancelled.is_set():
            try:
                self._emit(next(steps))
            except StopIteration as end:
                value: T = end.value
                return value
            except Cancelled:
                break
        steps.close()
        return "cancelled"

    def _done(self, writers: Sequence[Writer], reason: str, start: float, decoder: Decoder) -> None:
        self._low.trim()
        if self._high is not None:
            self._high.trim()
        if reason == "context":
            room = self._low.stepper.facts.n_ctx
            self._emit(Notice(f"The context of {room} tokens is full: the reply ends here."))
        written = sum(len(writer.tokens) - len(self._request.prefix) for writer in writers)
        cached = min(self._cached, len(self._prompt))  # with the beginning of a resumed reply more may have been there
        usage = Usage(len(self._prompt), cached, written, self._counts.high_tokens, self._counts.high_steps)
        timing = Timing(self._prefill_s, perf_counter() - start, self._counts.high_s, self._counts.gate_s)
        self._emit(Done(usage, timing, reason, decoder))
