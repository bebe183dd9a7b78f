"""How many compute threads: measured, because the best number is often not the number of cores, and does not stay it.

Compute threads wait for each other hundreds of times a token, and spin while they wait. When another program takes one
of their cores, all of them wait for the one that has none: measured on two cores, a step of 24 ms took more than 300
with two threads beside one busy program, and 33 with one thread. Threads that sleep instead (OMP_WAIT_POLICY=passive)
took 43, but 39 on a quiet machine. So threads spin, and ``Governor`` takes fewer of them while the machine is busy.
The number of threads does not change what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from time import monotonic, perf_counter
from typing import Protocol

from backends.stepper import Feed, Stepper

_CLEARLY = 0.9
"""A count is preferred to the first guess only when it is faster by more than the noise of a few steps."""

_SLOW = 0.3
"""Seconds per step above which measuring would cost too much at every start."""


class Threaded(Stepper, Protocol):
    """A Stepper whose thread count can be changed."""

    def set_threads(self, threads: int) -> None:
        """Compute threads for the next steps."""


def usable_cores() -> int:
    """Cores this process may use (affinity counts, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def candidates(usable: int, physical: int) -> list[int]:
    """Thread counts worth trying, best guess first: physical cores, all logical ones, one core left free."""
    guess = min(physical, usable) or usable
    tries = [guess, usable, max(1, guess - 1)]
    return list(dict.fromkeys(tries))


def choose_threads(stepper: Threaded, steps: int = 3) -> int:
    """Try the candidates on real decode steps, keep the fastest, and leave the Stepper set to it."""
    import psutil

    tries = candidates(usable_cores(), psutil.cpu_count(logical=False) or usable_cores())
    stepper.set_threads(tries[0])
    seq = stepper.open()
    try:
        stepper.step([Feed(seq, (0,))])  # the first step pays for page faults and warm-up
        best, best_s = tries[0], float("inf")
        for threads in tries:
            stepper.set_threads(threads)
            times = []
            for _ in range(steps):
                start = perf_counter()
                stepper.step([Feed(seq, (0,))])
                times.append(perf_counter() - start)
            if min(times) < best_s * _CLEARLY:
                best, best_s = threads, min(times)
            if best_s > _SLOW:
                break
    finally:
        stepper.drop(seq)
    stepper.set_threads(best)
    return best


class Governor:
    """Watches the times of single-token steps; takes fewer threads when they become slow, and tries more again later.

    Numbers of threads are tried in their order: down by one after a few slow steps, up by one for a single step after a
    pause that grows while it does not help.
    """

    SLOW = 2.5
    """A step this many times longer than the best one with as many threads is slow."""
    STRIKES = 3
    """Slow steps in a row before fewer threads are taken."""
    PAUSE_S, LONGEST_S = 3.0, 60.0
    """Seconds before more threads are tried again: at first, and at most."""
    BETTER = 0.95
    """Share of the usual time below which more threads have paid."""
    _FORGET = 1.002
    """The best time is forgotten slowly: steps grow longer with the conversation."""

    def __init__(self, counts: Iterable[int], chosen: int, clock: Callable[[], float] = monotonic) -> None:
        """``counts``: numbers of threads worth having, in any order. ``chosen``: the one in use."""
        self._counts = sorted({*counts, chosen}, reverse=True)
        self._at = self._counts.index(chosen)
        self._clock = clock
        self._best: dict[int, float] = {}
        self._usual = 0.0
        self._strikes = 0
        self._trying = False
        self._pause = self.PAUSE_S
        self._next_try = clock() + self._pause

    @property
    def threads(self) -> int:
        """The number for the next step."""
        return self._counts[self._at - self._trying]

    def took(self, seconds: float) -> int:
        """Note the time of a step; returns the number of threads for the next one."""
        if self._trying:
            self._tried(seconds)
            return self.threads
        expected = self._expected()
        slow = expected is not None and seconds > self.SLOW * expected
        self._strikes = self._strikes + 1 if slow else 0
        self._usual = seconds if not self._usual else 0.8 * self._usual + 0.2 * seconds
        if expected is None or not slow:
            self._best[self._at] = min(seconds, self._best.get(self._at, seconds) * self._FORGET)
        if self._strikes >= self.STRIKES and self._at + 1 < len(self._counts):
            self._move(self._at + 1)
        elif self._at and self._clock() >= self._next_try:
            self._trying = True
        return self.threads

    def _expected(self) -> float | None:
        """The best time with as many threads; where there is none yet, what the work of more threads would take."""
        known = [at for at in self._best if at <= self._at]
        if not known:
            return None
        return self._best[max(known)] * self._counts[max(known)] / self._counts[self._at]

    def _tried(self, seconds: float) -> None:
        self._trying = False
        if seconds < self.BETTER * self._usual:
            self._pause = self.PAUSE_S
            self._move(self._at - 1)
            # What was best in a shorter conversation may be out of reach by now.
            self._best[self._at] = seconds
        else:
            self._pause = min(2 * self._pause, self.LONGEST_S)
            self._next_try = self._clock() + self._pause

    def _move(self, at: int) -> None:
        self._at, self._usual, self._strikes = at, 0.0, 0
        self._next_try = self._clock() + self._pause


def governor(chosen: int) -> Governor | None:
    """A governor for this machine; none where one thread is all there is."""
    import psutil

    usable = usable_cores()
    physical = min(psutil.cpu_count(logical=False) or usable, usable)
    counts = {usable, physical, max(chosen, physical) - 1, max(chosen, physical) // 2, 1, chosen}
    counts = {count for count in counts if count >= 1}
    return Governor(counts, chosen) if len(counts) > 1 else None
