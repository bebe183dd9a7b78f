"""Keeps the memory's copy of past conversations in step with the tree, in a thread of its own.

A conversation is named here after a turn was committed, and when it was renamed, deleted, brought back or marked
private; the thread reads it from the tree and stores or forgets it. What a kill leaves behind is made up for by
``everything``, which compares the two once when a long-lived program starts.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.errors import AgentError
from memory.errors import MemoryRoomError

if TYPE_CHECKING:
    from agent.conversations import PastConversations
    from memory.store import Store

log = logging.getLogger(__name__)

_EVERYTHING = ""
"""In the queue: compare all of them."""


class Remembering:
    """One per memory. Methods may be called from any thread; none waits but ``close``.

    Args:
        source: the conversations; ``None``: none is to be remembered, and those that were are forgotten.
        store: opens the store where it is not open yet; it is called in the thread.
        exists: whether there is a store, so that nothing is made for something to be forgotten in it.
        stored: called in the thread after something new was stored, e.g. to embed it.
    """

    def __init__(
        self,
        source: PastConversations | None,
        store: Callable[[], Store],
        exists: Callable[[], bool],
        stored: Callable[[], None],
    ) -> None:
        self._source = source
        self._store = store
        self._exists = exists
        self._stored = stored
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def changed(self, id: str) -> None:
        """A conversation changed, or is gone."""
        if self._source is not None:
            self._put(id)

    def everything(self) -> None:
        """Compare all conversations with what is stored."""
        self._put(_EVERYTHING)

    def close(self, seconds: float) -> None:
        """Finish what is waiting, for so long at most; the rest is made up for the next time."""
        with self._guard:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._names.put(None)
            thread.join(seconds)

    def _put(self, name: str) -> None:
        with self._guard:
            if self._closed:
                return
            self._names.put(name)
            if self._thread is None:
                # A daemon: a store that hangs must not keep the program from ending.
                self._thread = threading.Thread(target=self._run, name="remembering", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        ended = False
        while not ended:
            names, ended = self._waiting()
            try:
                if self._kept_in_step(names) and not ended:
                    self._stored()
                self._finish_erasing()
            except (MemoryRoomError, AgentError) as error:
                log.warning("past conversations are not up to date in the memory: %s", error)
            except Exception:  # whatever it is, the conversation itself is safe in its file
                log.exception("past conversations are not up to date in the memory")

    def _waiting(self) -> tuple[set[str], bool]:
        """Everything that waits, each name once, and whether nothing will follow."""
        names: set[str] = set()
        name = self._names.get()
        while name is not None:
            names.add(name)
            try:
                name = self._names.get_nowait()
            except queue.Empty:
                return names, False
        return names, True

    def _kept_in_step(self, names: set[str]) -> bool:
        """Store or forget these; whether something new was stored."""
        from memory.recall.conversations import forget_conversations

        if _EVERYTHING in names:
            names = (names - {_EVERYTHING}) | self._differing()
        fresh, gone = False, []
        for name in sorted(names):
            stored = self._store_one(name)
            fresh = fresh or bool(stored)
            if stored is None:
                gone.append(name)
        if gone and self._exists():
            forget_conversations(self._store(), gone)
        return fresh

    def _finish_erasing(self) -> None:
        """Overwrite what a reader kept from being overwritten an earlier time."""
        from memory.store.erase import finish_erasing

        if self._exists():
            finish_erasing(self._store())

    def _store_one(self, name: str) -> bool | None:
        """Store one as it is now: whether anything was new; ``None`` where there is nothing to be remembered."""
        from memory.recall.conversations import Turn, index_conversation

        found = self._source.read(name) if self._source is not None else None
        if found is None:
            return None
        turns = [Turn(who, text) for who, text in found.turns]
        return index_conversation(self._store(), found.id, found.title, turns, when=found.updated).new_chunks > 0

    def _differing(self) -> set[str]:
        """The conversations of which tree and store tell different things."""
        from memory.recall.conversations import stored_conversations

        known = self._source.known() if self._source is not None else {}
        stored = stored_conversations(self._store()) if self._exists() else {}
        # Times are stored in whole nanoseconds, which a float of this size does not hold: a millisecond is the same.
        fresh = {name for name, when in known.items() if abs(stored.get(name, 0.0) - when) > 0.001}
        return fresh | (stored.keys() - known.keys())
