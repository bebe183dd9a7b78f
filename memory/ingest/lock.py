"""One process changes the knowledge base at a time; another waits, and says for whom.

The lock is the operating system's (through filelock), so that a killed holder leaves it free. Readers never need it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from memory.errors import StoreBusyError

_POLL_SECONDS = 0.2


@contextmanager
def writer_lock(
    folder: Path,
    purpose: str,
    *,
    wait_seconds: float | None = None,
    on_wait: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[None]:
    """Hold the right to change the knowledge base.

    Args:
        folder: The data folder.
        purpose: What for; shown to whoever has to wait.
        wait_seconds: How long to wait for another holder; None waits for ever, 0 not at all.
        on_wait: Told once, in a sentence, that and for whom we wait.
        cancelled: Asked while waiting.

    Raises:
        StoreBusyError: Another process held it for longer than we may wait.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder / "kb.lock")
    note = folder / "kb.lock.holder"
    deadline = None if wait_seconds is None else time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            holder = _holder(note)
            if cancelled is not None and cancelled():
                raise StoreBusyError("Cancelled while waiting for another process.") from None
            if deadline is not None and time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"{holder} is changing this knowledge base. Try again when it has finished."
                ) from None
            if not told and on_wait is not None:
                on_wait(f"{holder} is changing this knowledge base; waiting for it.")
                told = True
            time.sleep(_POLL_SECONDS)
    try:
        with contextlib.suppress(OSError):
            note.write_text(json.dumps({"pid": os.getpid(), "purpose": purpose}), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(note: Path) -> str:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        return f"Another fovea ({found['purpose']}, process {int(found['pid'])})"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another fovea"
