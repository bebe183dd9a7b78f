"""Checkpoints of replies that are being written: soon after a token came, also when none follows it for a long time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from agent.errors import StorageError
from agent.tree import Tree
from backends.types import Step

CHECKPOINT_S = 0.5
"""Seconds after which a token that came is on disk: what a kill of the whole program can lose."""
SHARE = 20
"""A checkpoint stores the whole reply so far; between two of them lies this many times what the last one took."""


class Written(Protocol):
    """A reply being written."""

    node: int
    steps: list[Step]


class Checkpoints:
    """Stores drafts while tokens come (``add``), and from a timer where tokens wait and no other comes.

    The timer runs in a thread of its own; what it cannot save is raised by the next ``add``.
    """

    def __init__(self, tree: Tree, clock: Callable[[], float]) -> None:
        self._tree = tree
        self._clock = clock
        self._lock = threading.RLock()
        self._pending: dict[int, Written] = {}
        self._due = 0.0
        self._rest_until = 0.0
        self._timer: threading.Timer | None = None
        self._problem: StorageError | None = None

    def add(self, draft: Written, step: Step) -> None:
        """Append a token to a draft, and store what is due. Raises StorageError."""
        with self._lock:
            if self._problem is not None:
                problem, self._problem = self._problem, None
                raise problem
            draft.steps.append(step)
            now = self._clock()
            if not self._pending:
                self._due = max(now + CHECKPOINT_S, self._rest_until)
            self._pending[draft.node] = draft
            if now >= self._due:
                self._save()
            else:
                self._watch(self._due - now)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """While the drafts are finished, and after, nothing older is stored over them."""
        with self._lock:
            self._pending.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            yield

    def _save(self) -> None:
        began = self._clock()
        with self._tree.transaction():
            for draft in self._pending.values():
                self._tree.checkpoint(draft.node, "".join(step.text for step in draft.steps), draft.steps)
        self._pending.clear()
        ended = self._clock()
        self._rest_until = ended + SHARE * (ended - began)

    def _watch(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._late)
            self._timer.daemon = True
            self._timer.start()

    def _late(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # finished meanwhile
            self._timer = None
            if not self._pending:
                return
            wait = self._due - self._clock()
            if wait > 0:
                self._watch(wait)
                return
            try:
                self._save()
            except StorageError as error:
                self._pending.clear()
                self._problem = error
