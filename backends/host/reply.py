"""A reply that outlives its engine host: what was asked, what has come of it, and what is still to be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter

from backends.errors import HostDied
from backends.types import Decoder, Done, Event, Failed, Notice, Request, Step, Timing, Usage, Why

RESTARTS = 2
"""How often one request may lose its host before it is given up."""


class Reply:
    """A request and what has come of it, so that it can be sent again with what is missing.

    A host that died told nothing of its times and counts: what it wrote is timed and counted here, as it came.
    """

    def __init__(self, request: Request, clock: Callable[[], float] = perf_counter) -> None:
        self._request = request
        self._clock = clock
        self._rows: dict[int, list[int]] = {request.first_seq + i: [] for i in range(request.n)}
        self._row: int | None = None
        """The continuation being finished alone after a death; None while all run together."""
        self._finished: set[int] = set()
        self._usage = Usage(0, 0, 0)
        self._timing = Timing(0.0, 0.0)
        """Of the runs that are over, those that died among them."""
        self._asked_at = clock()
        self._first_at: float | None = None
        """When the first token of the present run came."""
        self._high = 0
        """Tokens of the present run that the high tier took."""
        self._died = False
        self.deaths = 0
        self.complete = False

    def rest(self) -> Request:
        """The request for what is still to be written; its time begins now."""
        self._asked_at, self._first_at, self._high = self._clock(), None, 0
        if not self._died:
            return self._request
        open_rows = [row for row in self._rows if row not in self._finished]
        self._row = open_rows[0]
        written = self._rows[self._row]
        return replace(
            self._request,
            prefix=(*self._request.prefix, *written),
            max_tokens=max(1, self._request.max_tokens - len(written)),
            n=1,
            first_seq=self._row,
        )

    def take(self, event: Event) -> Iterator[Event]:
        """Note what came; pass on what the listener should see."""
        if isinstance(event, Step):
            self._rows[event.seq].append(event.token)
            self._high += event.why is not Why.SPOKE
            if self._first_at is None:
                self._first_at = self._clock()
            if event.ends:
                self._finished.add(event.seq)
        if not isinstance(event, Done):
            self.complete = isinstance(event, Failed)
            yield event
            return
        if self._died and self._row is not None:
            self._finished.add(self._row)
        stopped = event.reason == "cancelled"
        self.complete = stopped or not self._died or self.written_out()
        self._add(event.usage, event.timing)
        if self.complete:
            yield replace(event, usage=self._whole_usage(), timing=self._timing)

    def written_out(self) -> bool:
        """Whether nothing is left to write (the host may die between the last token and its ``Done``)."""
        return self._died and len(self._finished) == len(self._rows)

    def done(self) -> Done:
        """The end of a reply whose host died just before it could say so."""
        limit = any(len(tokens) >= self._request.max_tokens for tokens in self._rows.values())
        return Done(self._whole_usage(), self._timing, "length" if limit else "end", self._request.decoder)

    def after_death(self, died: HostDied) -> Notice:
        """Prepare to go on; the line the person sees."""
        now = self._clock()
        first = now if self._first_at is None else self._first_at
        self._add(Usage(0, 0, 0, high_tokens=self._high), Timing(first - self._asked_at, now - first))
        self._died = True
        limit = self._request.max_tokens
        self._finished |= {row for row, tokens in self._rows.items() if len(tokens) >= limit}
        if self.deaths >= RESTARTS and self._request.decoder is not Decoder.PLAIN:
            self._request = replace(self._request, decoder=Decoder.PLAIN, high="", read_high=False)
            return Notice(f"The engine ended again ({died}); the reply goes on at {self._request.tier} alone.")
        return Notice(f"The engine ended ({died}) and was restarted; the reply goes on.")

    # Inside -------------------------------------------------------------------------------------------------------

    def _add(self, usage: Usage, timing: Timing) -> None:
        """A run is over. Its prompt is that of every run; how much of it was cached is told of the latest."""
        before = self._usage
        self._usage = replace(
            usage,
            high_tokens=before.high_tokens + usage.high_tokens,
            high_steps=before.high_steps + usage.high_steps,
        )
        self._timing += timing

    def _whole_usage(self) -> Usage:
        written = sum(len(tokens) for tokens in self._rows.values())
        return replace(self._usage, completion_tokens=written)
