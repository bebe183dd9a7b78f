"""Keeps stop texts out of an answer: an engine ends its reply after one, a client of the protocol never sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from backends.types import Step


@dataclass(slots=True)
class StopFilter:
    """The steps of one continuation without its stop text.

    What may be the beginning of a stop text is held back until more is known, whole steps at a time, so that every
    piece keeps its provenance.
    """

    stops: Sequence[str]
    _held: list[Step] = field(default_factory=list)
    _cut: bool = False

    def feed(self, step: Step) -> Iterator[Step]:
        """Take a step; yields those that can be shown now."""
        if self._cut:
            return
        self._held.append(step)
        text = "".join(one.text for one in self._held)
        found = [at for at in map(text.find, self.stops) if at >= 0]
        if found:
            self._cut = True
            yield from self._shown(min(found), cut=True)
            self._held.clear()
        else:
            yield from self._shown(len(text) - self._doubtful(text), cut=False)

    def end(self) -> Iterator[Step]:
        """The reply is over: what was held back was no stop text."""
        yield from self._held
        self._held.clear()

    def _shown(self, upto: int, *, cut: bool) -> Iterator[Step]:
        """Let go of the steps before character ``upto`` of what is held; a step across it is held, or cut in two."""
        while self._held and len(self._held[0].text) <= upto:
            step = self._held.pop(0)
            upto -= len(step.text)
            yield step
        if cut and self._held and upto:
            yield replace(self._held[0], text=self._held[0].text[:upto])

    def _doubtful(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop text."""
        longest = min(len(text), max(map(len, self.stops), default=1) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self.stops)), 0)
