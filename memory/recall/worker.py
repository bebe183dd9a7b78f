"""One thread that does one thing after another and never keeps the program from ending.

``concurrent.futures`` joins its threads when the interpreter exits, so a route that hangs (a slow disk, a lock, a model
in trouble) would hang the exit as well. This thread is a daemon.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """A daemon thread with a queue, started by the first task.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Do a task after those before it."""
        future: Future[T] = Future()
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._tasks.put((future, task))
        return future

    def close(self) -> None:
        """End the thread once what is queued is done; nobody waits for it."""
        with self._guard:
            if self._thread is not None:
                self._tasks.put(None)
                self._thread = None

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task())
            except BaseException as error:  # whoever waits for the result is told
                future.set_exception(error)
