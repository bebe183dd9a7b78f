"""One thread that lets the engine write one request after the other, for any number of asynchronous listeners.

An engine runs one request at a time. Requests wait here in the order they came; one whose listener has gone is skipped,
or stopped when it is already being written. What a listener has not fetched yet waits in memory, bounded by the length
of a reply, so that a slow client never holds up the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from backends.engine import Engine
from backends.errors import BackendError
from backends.types import Done, Event, Failed, Request
from tui.serve.metrics import Metrics

Prepare = Callable[[], Request]
"""Makes the request when its turn has come; may raise an error, which becomes the job's."""


class Busy(Exception):
    """Too many requests are waiting."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way."""

    prepare: Prepare
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event | Exception] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)
    waiting: bool = True

    def tell(self, event: Event | Exception) -> None:
        """Hand an event to the listener; from the worker's thread."""
        # The loop may be closing down together with the listener; then nobody wants the event.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)

    async def listen(self) -> AsyncIterator[Event]:
        """Events up to Done or Failed. Raises what ``prepare`` raised."""
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Done | Failed):
                return


class Worker:
    """The engine's thread.

    Args:
        engine: a loaded engine.
        metrics: where running and waiting requests are counted.
        longest_queue: requests that may wait; more are refused.
    """

    def __init__(self, engine: Engine, metrics: Metrics, longest_queue: int = 64) -> None:
        self._engine = engine
        self._metrics = metrics
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._waiting = 0
        self._longest = longest_queue
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="fovea-serve", daemon=True)
        self._thread.start()

    def submit(self, prepare: Prepare) -> Job:
        """Let a request wait for its turn; from the event loop. Raises Busy."""
        job = Job(prepare, asyncio.get_running_loop())
        with self._lock:
            if self._closed or self._waiting >= self._longest:
                raise Busy
            self._waiting += 1
        self._metrics.add("fovea_waiting")
        self._queue.put(job)
        return job

    def cancel(self, job: Job) -> None:
        """Nobody listens to a job any more."""
        job.cancelled.set()
        self._leave_queue(job)
        with self._lock:
            if self._current is job:
                self._engine.cancel()

    def close(self) -> None:
        """Stop what is running and end the thread."""
        with self._lock:
            self._closed = True
            current = self._current
        if current is not None:
            self.cancel(current)
        self._queue.put(None)
        self._thread.join()

    def _leave_queue(self, job: Job) -> None:
        """A job waits no longer, because its turn has come or because nobody listens: its place is free at once."""
        with self._lock:
            if not job.waiting:
                return
            job.waiting = False
            self._waiting -= 1
        self._metrics.add("fovea_waiting", -1)

    # In the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            self._leave_queue(job)
            with self._lock:
                self._current = job
            self._metrics.add("fovea_running")
            try:
                self._run(job)
            except Exception as error:  # whatever an engine raises belongs to this request, not to the server
                job.tell(error if isinstance(error, BackendError) else BackendError(f"{type(error).__name__}: {error}"))
            finally:
                with self._lock:
                    self._current = None
                self._metrics.add("fovea_running", -1)

    def _run(self, job: Job) -> None:
        if job.cancelled.is_set() or self._closed:
            job.tell(Failed("Cancelled", "The server is closing."))
            return
        try:
            request = job.prepare()
        except Exception as error:  # a refusal on its way to the client, of whatever kind
            job.tell(error)
            return
        events: Iterator[Event] = self._engine.run(request)
        for event in events:
            job.tell(event)
            if job.cancelled.is_set():
                # A cancel that came before the engine had begun was lost; once more, and hear the engine out, so that
                # it has put its sequences away before the next request begins.
                self._engine.cancel()
