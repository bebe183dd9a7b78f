"""The parent's side of the engine host: starts it, restarts it, and lets a reply survive its death."""

from __future__ import annotations

import atexit
import itertools
import logging
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from backends import errors
from backends.errors import BackendError, EngineBusy, HostDied, HostError
from backends.host import wire
from backends.host.reply import RESTARTS, Reply
from backends.types import (
    Event,
    Failed,
    ForkMap,
    LadderSpec,
    LadderStatus,
    Message,
    Notice,
    Prefill,
    Request,
    Step,
)

if TYPE_CHECKING:
    from backends.host.process import HostProcess

log = logging.getLogger("fovea.host")

_STOP_S = 3.0
"""Seconds a host gets to stop its work before it is ended."""


class EngineHost:
    """``backends.engine.Engine`` in a child process. See that protocol for the contract of each method."""

    def __init__(self, log_path: Path | None = None) -> None:
        """Nothing starts before the first ``load``.

        Args:
            log_path: File for everything the host prints; None discards it.
        """
        self._log_path = log_path
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()
        self._whose_turn: int | None = None
        """The thread that holds the turn, or took the last event of the reply that does."""
        self._process: HostProcess | None = None
        self._ladder: LadderSpec | None = None
        self._status: LadderStatus | None = None
        self._running = 0
        self._closed = False
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process id of the running host."""
        return self._process.pid if self._process else None

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Load a ladder, starting the host where needed."""
        with self._own_turn():
            self._closed = False
            return self._load(ladder)

    def status(self) -> LadderStatus:
        """The ladder as it is loaded now."""
        status = self._ask("status")
        if not isinstance(status, LadderStatus):
            raise HostError("The engine host gave no status.")
        return status

    def run(self, request: Request) -> Iterator[Event]:
        """Write; survives the death of the host (see ``backends.host.reply``)."""
        try:
            with self._own_turn(), closing(self._run(request)) as events:
                for event in events:
                    yield event
                    self._whose_turn = threading.get_ident()
        except EngineBusy as busy:
            yield Failed(type(busy).__name__, str(busy))

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Read a finished reply at a tier."""
        result = self._ask("score", wire.ScoreOrder(tuple(messages), tuple(reply), tier, against))
        if not isinstance(result, ForkMap):
            raise HostError("The engine host gave no fork map.")
        return result

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text."""
        return list(self._ask("tokenize", wire.Text(text)).tokens)

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a conversation."""
        return int(self._ask("count", wire.Chat(tuple(messages))).count)

    def cancel(self) -> None:
        """Stop the running request."""
        process, number = self._process, self._running
        if process is not None and number:
            with suppress(HostDied):
                process.send(number, "cancel")

    def close(self) -> None:
        """End the host and wait for it; it is killed when it does not end by itself."""
        self._closed = True  # a reply that is being written must not start another host
        self._end()

    # Inside -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        """Wait until the engine is free, and hold it. Raises EngineBusy where that would be waiting for oneself."""
        if self._whose_turn == threading.get_ident():
            raise EngineBusy("The engine is in the middle of a reply; ask it after the last event, or stop the reply.")
        with self._turn:
            self._whose_turn = threading.get_ident()
            try:
                yield
            finally:
                self._whose_turn = None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def _load(self, ladder: LadderSpec) -> LadderStatus:
        self._ladder = ladder
        if not self._alive():
            from backends.host.process import HostProcess  # not before a model is wanted: the first paint comes first

            self._end()
            self._process = HostProcess(self._log_path)
        try:
            status = self._exchange("load", ladder)
        except HostDied as died:
            raise errors.LoadError(f"The engine ended while it loaded the model: {died}") from died
        if not isinstance(status, LadderStatus):
            raise HostError("The engine host gave no status.")
        self._status = status
        return status

    def _ensure(self) -> None:
        """A living host with the ladder loaded."""
        if self._closed:
            raise HostError("The engine was closed.")
        if self._alive():
            return
        if self._ladder is None:
            raise HostError("No model is loaded.")
        self._load(self._ladder)

    def _ask(self, op: str, value: object = None) -> Any:
        """One question, one answer; asked again once when the host dies over it."""
        with self._own_turn():
            self._ensure()
            try:
                return self._exchange(op, value)
            except HostDied:
                log.warning("the engine host died during %s; asking again", op)
                self._ensure()
                return self._exchange(op, value)

    def _exchange(self, op: str, value: object = None) -> Any:
        *_, last = self._stream(op, value)
        if isinstance(last, Failed):
            raise _error_of(last)
        return last

    def _stream(self, op: str, value: object = None) -> Iterator[Any]:
        """Send one order and yield its answers, the final one last. Raises HostDied."""
        process, number = self._process, next(self._numbers)
        if process is None:
            raise HostDied("it is not running")
        process.send(number, op, value)
        self._running = number
        finished = False
        try:
            while not finished:
                got, answer = process.receive()
                if isinstance(answer, HostDied):
                    finished = True
                    raise answer
                if got != number and not (got == 0 and isinstance(answer, Failed)):
                    continue
                finished = not isinstance(answer, Step | Prefill | Notice)
                yield answer
        finally:
            if not finished:  # the listener went away: stop the work, and wait so that the next order starts clean
                self._drain(process, number)
            self._running = 0

    def _drain(self, process: HostProcess, number: int) -> None:
        with suppress(HostDied):
            process.send(number, "cancel")
        end = monotonic() + _STOP_S
        while True:
            try:
                got, answer = process.receive(max(0.0, end - monotonic()))
            except queue.Empty:  # work that cannot be stopped, such as loading: the next order starts a new host
                process.kill()
                return
            if isinstance(answer, HostDied):
                return
            if got == number and not isinstance(answer, Step | Prefill | Notice):
                return

    def _run(self, request: Request) -> Generator[Event]:
        reply = Reply(request)
        while True:
            try:
                self._ensure()
                if reply.written_out():
                    yield reply.done()
                    return
                for event in self._stream("run", reply.rest()):
                    yield from reply.take(event)
                if reply.complete:
                    return
            except HostDied as died:
                if self._closed:
                    yield Failed("HostError", "The engine was closed.")
                    return
                log.warning("engine host died during a reply: %s", died)
                reply.deaths += 1
                if reply.deaths > RESTARTS:
                    yield Failed("HostDied", f"The engine ended again and again ({died}); the partial reply is kept.")
                    return
                yield reply.after_death(died)
            except BackendError as error:
                yield Failed(type(error).__name__, str(error))
                return


def _error_of(failed: Failed) -> BackendError:
    kind = getattr(errors, failed.kind, BackendError)
    return kind(failed.text) if isinstance(kind, type) and issubclass(kind, BackendError) else BackendError(failed.text)
