"""Coming back from a stop that nobody announced.

Ctrl+Z is announced (SIGTSTP): Textual leaves the screen, stops, and takes the screen back at SIGCONT. SIGSTOP, as of
``kill -STOP``, cannot be. Textual then takes a screen that it still holds: a second thread reads the keys beside the
first, each gets some of them, and both spin when the terminal goes.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from textual.driver import Driver

_READER = "textual-input"
"""Name of the thread that Textual reads keys with; it has ended when the screen was left."""


def mend_continue(driver: Driver) -> None:
    """Make SIGCONT leave the screen before it is taken again, where that has not been done."""
    resume = signal.getsignal(signal.SIGCONT)
    if not callable(resume):
        return

    def continued(number: int, frame: FrameType | None) -> None:
        if any(thread.name == _READER for thread in threading.enumerate()):
            driver.suspend_application_mode()
        resume(number, frame)

    signal.signal(signal.SIGCONT, continued)
