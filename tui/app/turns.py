"""One running turn: its events are read in a thread and handed to the screen in groups.

The thread only appends to a queue; the screen takes what has come whenever it draws (see ``pace``). So the model is
never slowed by the screen, nor the screen by the model.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agent.events import Stopped, TurnEvent, Wrote
from backends.types import Step
from tui.app.background import sentence

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """Tokens of one continuation that came since the last drawing."""

    seq: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over; nothing more will come."""


Group = TurnEvent | Written | Ended


@dataclass
class Turn:
    """A stream of turn events and its reading thread."""

    events: Callable[[], Iterator[TurnEvent]]
    """Makes the iterator; called in the thread, since even starting a turn may wait for the model."""
    _queue: deque[TurnEvent | Ended] = field(default_factory=deque)

    def start(self) -> None:
        """Begin reading."""
        threading.Thread(target=self._read, name="fovea-turn", daemon=True).start()

    def take(self) -> list[Group]:
        """What has come since the last call; neighbouring tokens are grouped by continuation."""
        groups: list[Group] = []
        tokens: dict[int, list[Step]] = {}

        def flush() -> None:
            groups.extend(Written(seq, tuple(steps)) for seq, steps in sorted(tokens.items()))
            tokens.clear()

        while self._queue:
            event = self._queue.popleft()
            if isinstance(event, Wrote):
                tokens.setdefault(event.step.seq, []).append(event.step)
            else:
                flush()
                groups.append(event)
        flush()
        return groups

    def _read(self) -> None:
        try:
            for event in self.events():
                self._queue.append(event)
        except Exception as error:
            log.exception("a turn failed")
            self._queue.append(Stopped((), sentence(error)))
        self._queue.append(Ended())
