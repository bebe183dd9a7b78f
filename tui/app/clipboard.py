"""Copying: OSC 52 through the terminal (works over SSH), and the system's own tool where there is one.

Neither says whether it worked everywhere (macOS Terminal ignores OSC 52), so both are used and the confirmation line
names what was tried.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

from tui.app.words import plural

_TOOLS = (
    ("wl-copy", ("wl-copy",)),
    ("xclip", ("xclip", "-selection", "clipboard")),
    ("xsel", ("xsel", "--clipboard", "--input")),
    ("pbcopy", ("pbcopy",)),
    ("clip.exe", ("clip.exe",)),
)
_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^(?P=fence)[`~]*[ \t]*$|\Z)", re.M | re.S)


def code_blocks(text: str) -> list[str]:
    """The fenced code blocks of a reply, without the fences; an unfinished last one counts."""
    return [found.group("code").rstrip("\n") for found in _FENCE.finditer(text)]


def copy(text: str, osc52: Callable[[str], None], run: Callable[[tuple[str, ...], bytes], bool] | None = None) -> str:
    """Copy and say how.

    Args:
        text: what to copy.
        osc52: writes the text to the terminal's clipboard (``App.copy_to_clipboard``).
        run: starts a system tool and says whether it took the text; for tests.

    Returns:
        One line for the person.
    """
    osc52(text)
    lines = text.count("\n") + 1
    amount = plural(len(text), "character") + (f", {plural(lines, 'line')}" if lines > 1 else "")
    start = run or _run
    for name, command in _TOOLS:
        if (run or shutil.which(command[0])) and start(command, text.encode()):
            return f"Copied {amount} (terminal and {name})"
    return f"Copied {amount} (through the terminal)"


def _run(command: tuple[str, ...], data: bytes) -> bool:
    try:
        done = subprocess.run(
            command, input=data, timeout=2, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
