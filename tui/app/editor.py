"""The person's own editor for long prompts and merges: ``$VISUAL``, ``$EDITOR``, or what the system has."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path


def command() -> list[str]:
    """The editor to start, or an empty list when there is none."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if named.strip():
        return shlex.split(named)
    return next(([name] for name in ("nano", "vim", "vi", "notepad.exe") if shutil.which(name)), [])


def edit(text: str) -> tuple[str, str]:
    """Open the text in the editor and wait.

    Returns:
        The edited text and a problem; with a problem the text is as it was.
    """
    program = command()
    if not program:
        return text, "No editor found; set the variable EDITOR to the one you like"
    handle, name = tempfile.mkstemp(prefix="fovea-", suffix=".md")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run([*program, name], check=False)
        if done.returncode != 0:
            return text, f"{program[0]} ended with code {done.returncode}; the text is as it was"
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n"), ""
    except OSError as error:
        return text, f"{program[0]} could not be started: {error.strerror or error}"
    finally:
        path.unlink(missing_ok=True)
