"""The engine host's own program: reads orders from standard input, runs them one at a time, writes events.

Only protocol lines may reach the parent, so the real standard output is taken aside at once and everything that prints
(native code included) goes to the log. The program ends when its standard input ends: whatever way the parent dies, the
kernel closes that pipe, and no host is left behind.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from backends.errors import BackendError, HostError
from backends.host import wire
from backends.host.outbox import Outbox
from backends.ladder import Ladder
from backends.types import Event, Failed, LadderSpec, Step

log = logging.getLogger("fovea.host")


class Host:
    """The loop of the child process."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self._orders, self._outbox = orders, Outbox(answers)
        self._queue: queue.Queue[tuple[int, str, Any]] = queue.Queue()
        self._ladder: Ladder | None = None
        self._running = 0
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Serve until ``close`` or the end of the input."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        while True:
            number, op, value = self._queue.get()
            if op == "close":
                break
            self._running = number
            try:
                self._serve(number, op, value)
            except BackendError as error:
                self._send(number, Failed(type(error).__name__, str(error)))
            except Exception as error:
                log.exception("%s failed", op)
                self._send(number, Failed("BackendError", f"The engine failed ({type(error).__name__}: {error})."))
            self._running = 0
        if self._ladder is not None:
            self._ladder.close()

    def _listen(self) -> None:
        for line in self._orders:
            try:
                number, op, value = wire.read_order(line)
            except HostError as error:
                log.error("%s", error)
                self._send(0, Failed("HostError", str(error)))
                continue
            if op == "cancel":
                self._cancelled.add(number)
                if self._ladder is not None and number == self._running:
                    self._ladder.cancel()
            else:
                self._queue.put((number, op, value))
        os._exit(0)  # the parent is gone; a decode may be running in the main thread

    def _serve(self, number: int, op: str, value: Any) -> None:
        if op == "load":
            self._load(value)
            op = "status"
        ladder = self._ladder
        if ladder is None:
            raise HostError("No model is loaded.")
        if op == "run":
            ladder.run(value, lambda event: self._emit(number, event))
        elif op == "status":
            self._send(number, ladder.status(_rss()))
        elif op == "score":
            self._send(number, ladder.score(value.messages, value.reply, value.tier, value.against))
        elif op == "tokenize":
            self._send(number, wire.Tokens(tuple(ladder.tokenize(value.text))))
        elif op == "count":
            self._send(number, wire.Count(ladder.count(value.messages)))

    def _load(self, spec: LadderSpec) -> None:
        from backends.opening import open_stepper

        if self._ladder is not None:
            if self._ladder.change(spec, open_stepper):
                return
            self._ladder.close()
            self._ladder = None
        self._ladder = Ladder(spec, open_stepper)

    def _emit(self, number: int, event: Event) -> None:
        self._send(number, event)
        if number in self._cancelled and self._ladder is not None:
            # The order to stop came in before this request had begun.
            self._cancelled.discard(number)
            self._ladder.cancel()

    def _send(self, number: int, value: object) -> None:
        line = wire.answer(number, value)
        if isinstance(value, Step):
            self._outbox.soon(line)
        else:
            self._outbox.now(line)


def _rss() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Entry point of ``python -m backends.host.child``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the parent's business
    answers = os.fdopen(os.dup(1), "wb")
    orders = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with suppress(OSError):  # when memory runs out, the host should go and not the person's other programs
        Path("/proc/self/oom_score_adj").write_text("500")
    Host(orders, answers).run()


if __name__ == "__main__":
    main()
