"""``@file``: finding files by a few letters, and putting their text into a message.

Matching is a subsequence match that prefers letters at the start of path parts (as in fuzzy finders); the walk is
bounded in files and time so that a home folder or a network disk does not freeze the prompt.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tui.app.safe import one_line

MAX_FILES = 20_000
MAX_SECONDS = 0.3
MAX_BYTES = 200_000
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "target", "dist", "build"})
_MENTION = re.compile(r"(?:^|(?<=\s))@(?:\"([^\"\n]+)\"|(\S+))")


def files(root: Path) -> list[str]:
    """Relative paths under ``root``, hidden and generated folders left out, bounded in number and time."""
    until = time.monotonic() + MAX_SECONDS
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        base = os.path.relpath(folder, root)
        found.extend(name if base == "." else f"{base}/{name}" for name in sorted(names) if not name.startswith("."))
        if len(found) >= MAX_FILES or time.monotonic() > until:
            break
    return found[:MAX_FILES]


def score(query: str, path: str) -> float:
    """How well a path fits the letters typed; 0 when they do not all occur in order."""
    if not query:
        return 1.0
    lowered, at, total, streak = path.lower(), 0, 0.0, 0
    for letter in query.lower():
        found = lowered.find(letter, at)
        if found < 0:
            return 0.0
        streak = streak + 1 if found == at and at else 0
        starts = found == 0 or lowered[found - 1] in "/_-. "
        total += 1.0 + (2.0 if starts else 0.0) + min(streak, 4) * 0.75
        at = found + 1
    return total / (1 + len(path) / 80) + (2.0 if query.lower() in lowered.rsplit("/", 1)[-1] else 0.0)


def best(query: str, paths: list[str], limit: int = 8) -> list[str]:
    """The best matches, best first."""
    ranked = sorted(((score(query, path), path) for path in paths), key=lambda pair: (-pair[0], len(pair[1]), pair[1]))
    return [path for points, path in ranked[:limit] if points > 0]


def current(text: str) -> str | None:
    """The unfinished mention at the end of ``text`` (the text before the cursor), without the ``@``."""
    found = re.search(r"(?:^|\s)@([^\s@\"]*)$", text)
    return found.group(1) if found else None


def mention(path: str) -> str:
    """A path as it is written in a message."""
    return f'@"{path}"' if " " in path else f"@{path}"


def expand(text: str, root: Path) -> tuple[str, list[str]]:
    """Put the text of mentioned files below the message.

    Args:
        text: the message as typed.
        root: where relative paths start.

    Returns:
        The message with the files quoted after it, and one line for each mention that could not be read.
    """
    quoted: list[str] = []
    problems: list[str] = []
    for found in _MENTION.finditer(text):
        name = (found.group(1) or found.group(2)).rstrip(",;:")
        shown = one_line(name, 80)
        try:
            path = root / Path(name).expanduser()
            if not path.exists():
                continue  # "@anna" is a name, not a file
        except (OSError, RuntimeError):
            continue  # neither is what no file can be called, nor "@~anna"
        if not path.is_file():
            problems.append(f"{shown} is a folder; mention a file in it")
            continue
        try:
            with path.open("rb") as file:  # however large it is
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            problems.append(f"{shown} cannot be read: {error.strerror or error}")
            continue
        if b"\0" in data[:4096]:
            problems.append(f"{shown} is not a text file")
            continue
        if len(data) > MAX_BYTES:
            problems.append(f"{shown} is long: only its first {MAX_BYTES // 1000} kB are in the message")
        body = data[:MAX_BYTES].decode("utf-8", errors="replace")
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`{3,}", body)), 3)
        quoted.append(f"{shown}:\n{fence}\n{body.rstrip()}\n{fence}")
    return "\n\n".join([text, *quoted]), problems
