"""Chroma's folder as files: what can be seen to be wrong before anything opens it, and setting it aside."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

FOLDER = "chroma"
WRITING = "writing"
"""Lies in the folder while a writer is at work; whoever finds it later knows that the last writer was killed."""
_BLOAT = 10
"""``link_lists.bin`` is a fraction of ``data_level0.bin``; a store broken by a kill claims hundreds of GB."""
_KEPT = 1


def doubt(folder: Path) -> str:
    """Return why a folder should not be opened, or an empty string."""
    if not folder.exists():
        return ""
    if (folder / WRITING).exists():
        return "its last writer was killed"
    database = folder / "chroma.sqlite3"
    if not database.exists():
        return "its database is missing" if any(folder.iterdir()) else ""
    try:
        with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                return "its database is damaged"
    except sqlite3.Error as error:
        return f"its database cannot be read ({error})"
    for links in folder.glob("*/link_lists.bin"):
        data = links.with_name("data_level0.bin")
        if not data.exists() or links.stat().st_size > _BLOAT * max(1 << 20, data.stat().st_size):
            return "its graph files do not fit each other"
    return ""


def set_aside(folder: Path) -> Path | None:
    """Rename a folder out of the way, keep only the newest of those, and return its new place."""
    if not folder.exists():
        return None
    target = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
    folder.rename(target)
    older = sorted(folder.parent.glob(f"{folder.name}.damaged-*"))[:-_KEPT]
    for one in older:
        shutil.rmtree(one, ignore_errors=True)
    return target
