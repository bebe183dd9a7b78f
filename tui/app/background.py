"""Work that may block, away from the screen.

Daemon threads rather than Textual's thread workers: those live in asyncio's executor, which is waited for at exit, so
that a model still loading would keep a closed app alive.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of the work: a value or a sentence for the person."""

    value: T | None = None
    problem: str = ""


def sentence(error: BaseException) -> str:
    """An error as one line a person can read; never empty."""
    return " ".join(str(error).split()) or f"Something failed without saying why ({type(error).__name__}); see the log"


def in_background(work: Callable[[], T], then: Callable[[Outcome[T]], object]) -> threading.Thread:
    """Run ``work`` in a thread, then ``then(outcome)`` in the event loop of the caller.

    Args:
        work: may block; any error becomes ``Outcome.problem`` and goes to the log.
        then: called in the loop; not called any more when the loop is closed.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()  # Textual finds the app through it

    def run() -> None:
        try:
            outcome: Outcome[T] = Outcome(value=work())
        except Exception as error:
            log.exception("background work failed")
            outcome = Outcome(problem=sentence(error))
        try:
            loop.call_soon_threadsafe(then, outcome, context=context)
        except RuntimeError:  # the app is gone; nobody waits for this any more
            log.debug("result came after the end of the app")

    thread = threading.Thread(target=run, name="fovea-background", daemon=True)
    thread.start()
    return thread
