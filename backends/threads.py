"""How many compute threads: measured, because the best number is often not the number of cores."""

from __future__ import annotations

import os
from time import perf_counter
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
