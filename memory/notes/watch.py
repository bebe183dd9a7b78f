"""Edits made outside, seen within a second: a thread over ``watchfiles``, or over file times where that cannot watch.

The thread only says which notes changed; what to do about it is the caller's. If watching fails it does not die in
silence: the failure is reported and looking at file times takes over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from memory.notes.folder import NotesFolder

DEBOUNCE_MS = 200  # an editor's save is several events; they are told as one
POLL_SECONDS = 0.5

Stamp = tuple[int, int]


class NotesWatcher:
    """Watch a notes folder until stopped.

    Args:
        folder: the notes.
        on_change: called in the watcher's thread with the names of notes that appeared, changed or vanished.
        on_trouble: called with a sentence when watching had to fall back or a callback failed.
        poll: look at file times instead of asking the system, e.g. on network drives.
    """

    def __init__(
        self,
        folder: NotesFolder,
        on_change: Callable[[frozenset[str]], None],
        on_trouble: Callable[[str], None] = lambda _: None,
        *,
        poll: bool = False,
    ) -> None:
        self._folder = folder
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._poll = poll
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._stamps: Mapping[str, Stamp] = {}
        self._thread = threading.Thread(target=self._run, name="notes-watcher", daemon=True)

    def start(self) -> NotesWatcher:
        """Begin; edits made after this call returns are seen."""
        self._folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._stamps = self._look()
        self._thread.start()
        self._ready.wait(timeout=5)
        return self

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def __enter__(self) -> NotesWatcher:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self) -> None:
        if not self._poll:
            try:
                self._follow()
            except Exception as error:  # whatever the system's watcher raises, polling still works
                self._on_trouble(f"Watching {self._folder.root} failed ({error}); looking at file times instead.")
        self._ready.set()
        while not self._stop.wait(POLL_SECONDS):
            self._tell()

    def _follow(self) -> None:
        from watchfiles import watch

        # The first, empty round comes as soon as the system watches; file times are compared in every round, because
        # events between the first look and now would be lost otherwise.
        for _ in watch(
            self._folder.root,
            debounce=DEBOUNCE_MS,
            step=50,
            rust_timeout=int(POLL_SECONDS * 1000),
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
        ):
            self._ready.set()
            self._tell()

    def _tell(self) -> None:
        stamps = self._look()
        names = stamps.keys() | self._stamps.keys()
        changed = frozenset(name for name in names if stamps.get(name) != self._stamps.get(name))
        self._stamps = stamps
        if not changed:
            return
        try:
            self._on_change(changed)
        except Exception as error:  # one failing reaction must not end the watching
            self._on_trouble(f"A change in {', '.join(sorted(changed))} could not be taken in: {error}")

    def _look(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for name in self._folder.names():
            try:
                status = Path(self._folder.root, name).stat()
            except OSError:
                continue
            stamps[name] = (status.st_mtime_ns, status.st_size)
        return stamps
