"""A reply that outlives its engine host: what was asked, what has come of it, and what is still to be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backends.errors import HostDied
from backends.types import Decoder, Done, Event, Failed, Notice, Request, Step, Timing, Usage

RESTARTS = 2
"""How often one request may lose its host before it is given up."""


class Reply:
    """A request and what has come of it, so that it can be sent again with what is missing."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rows: dict[int, list[int]] = {request.first_seq + i: [] for i in range(request.n)}
        self._row: int | None = None
        """The continuation being finished alone after a death; None while all run together."""
        self._finished: set[int] = set()
        self._before = 0
        """Tokens written before the last death."""
        self._died = False
        self.deaths = 0
        self.complete = False

    def rest(self) -> Request:
        """The request for what is still to be written."""
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
        if self.complete:
            written = sum(len(tokens) for tokens in self._rows.values())
            yield replace(event, usage=replace(event.usage, completion_tokens=written))

    def written_out(self) -> bool:
        """Whether nothing is left to write (the host may die between the last token and its ``Done``)."""
        return self._died and len(self._finished) == len(self._rows)

    def done(self) -> Done:
        """The end of a reply whose host died just before it could say so."""
        written = sum(len(tokens) for tokens in self._rows.values())
        limit = any(len(tokens) >= self._request.max_tokens for tokens in self._rows.values())
        return Done(Usage(0, 0, written), Timing(0.0, 0.0), "length" if limit else "end", self._request.decoder)

    def after_death(self, died: HostDied) -> Notice:
        """Prepare to go on; the line the person sees."""
        self._died = True
        limit = self._request.max_tokens
        self._finished |= {row for row, tokens in self._rows.items() if len(tokens) >= limit}
        if self.deaths >= RESTARTS and self._request.decoder is not Decoder.PLAIN:
            self._request = replace(self._request, decoder=Decoder.PLAIN, high="", read_high=False)
            return Notice(f"The engine ended again ({died}); the reply goes on at {self._request.tier} alone.")
        return Notice(f"The engine ended ({died}) and was restarted; the reply goes on.")
