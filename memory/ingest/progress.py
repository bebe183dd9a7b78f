"""How far a long operation has come: counted, with rate and remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an operation."""

    phase: str
    """``reading``, ``embedding`` or ``indexing``."""
    done: int
    total: int
    rate: float
    """Items a second since the phase began."""
    seconds_left: float | None
    """None until there is a rate."""
    current: str = ""


Report = Callable[[Progress], None]


@dataclass(slots=True)
class Meter:
    """Counts one phase and reports at most a few times a second."""

    phase: str
    total: int
    report: Report | None
    interval: float = 0.2
    done: int = 0
    _began: float = field(default_factory=time.monotonic)
    _last: float = 0.0

    def advance(self, count: int = 1, current: str = "") -> None:
        """Count finished items."""
        self.done += count
        now = time.monotonic()
        if self.report is None or (now - self._last < self.interval and self.done < self.total):
            return
        self._last = now
        elapsed = now - self._began
        rate = self.done / elapsed if elapsed > 0 else 0.0
        left = (self.total - self.done) / rate if rate > 0 else None
        self.report(Progress(self.phase, self.done, self.total, rate, left, current))


@dataclass(slots=True)
class Outcome:
    """What an operation did; ``failed`` holds one line of reason for every document left out."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    marked: list[tuple[str, str]] = field(default_factory=list)
    """Documents whose text was changed on the way in (repaired, decoded from another encoding), and how."""
    new_chunks: int = 0
    removed_chunks: int = 0
    embedded: int = 0
    pending: int = 0
    """Chunks that still have no vector: search finds them by words."""
    seconds: float = 0.0
    cancelled: bool = False
    note: str = ""
    """Why nothing was embedded, where that was not by choice."""


Counted = Callable[[int, int], None]
"""Told how many of how many are done."""


def counted(phase: str, report: Report | None) -> Counted | None:
    """Turn counts into progress reports."""
    if report is None:
        return None
    meter: list[Meter] = []

    def told(done: int, total: int) -> None:
        if not meter:
            meter.append(Meter(phase, total, report))
        meter[0].advance(done - meter[0].done)

    return told
