"""The log: one rotating file in the data folder, readable by its owner alone, and nothing on the terminal."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path

ROOMS = ("fovea", "agent", "backends", "memory", "tui")
LIMIT_BYTES, KEPT = 1_000_000, 3


class PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotating file handler whose files are created with mode 0600."""

    def _open(self) -> TextIOWrapper:
        number = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(number, "a", encoding="utf-8")

    def close(self) -> None:
        """Give the file back; on a full disk what could not be written is lost, which ends nothing."""
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written (a full disk) is lost; a traceback on the terminal would be worse."""


def start(path: Path, level: str = "info") -> bool:
    """Send the rooms' log records to ``path``; records of other libraries go nowhere.

    Returns:
        False when the file cannot be opened; logging is then off, which is never a reason to stop.
    """
    # A library that finds no handler would print warnings to stderr, across the screen of the app.
    logging.getLogger().addHandler(logging.NullHandler())
    handler: logging.Handler
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = PrivateRotatingFile(str(path), maxBytes=LIMIT_BYTES, backupCount=KEPT, encoding="utf-8")
        opened = True
    except OSError:
        handler, opened = logging.NullHandler(), False
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    for room in ROOMS:
        logger = logging.getLogger(room)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
    return opened


def set_level(level: str) -> None:
    """How much is written from now on."""
    for room in ROOMS:
        logging.getLogger(room).setLevel(level.upper())
