"""Text from standard input, without waiting for ever on a pipe that nobody writes to.

A program started by another one (cron, an editor, ssh) often inherits an open pipe that stays silent. So where standard
input is only an addition, its first byte has ``PATIENCE_S`` to come; from then on everything is read, however slowly.
"""

from __future__ import annotations

import os
import select
import stat
import sys

from tui.commands.common import InputError, say

PATIENCE_S = 5.0
"""Seconds a pipe beside a question gets for its first byte."""


def piped_text(*, addition: bool = False, wanted: bool = False) -> str:
    """What is piped or redirected into the program; empty when standard input is a terminal or nothing.

    Args:
        addition: The program can do without; a silent pipe is left alone after ``PATIENCE_S``, and that is said.
        wanted: It was asked for (``-``): a terminal is read too, and nothing is too slow.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return ""
    pipe = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
    if not (pipe or stat.S_ISREG(kind) or wanted):
        return ""
    if addition and pipe and not wanted and not _speaks(sys.stdin.fileno()):
        say(
            f"nothing came on standard input for {PATIENCE_S:g} s; it is left out "
            "(a - after the question waits for it, </dev/null does without it at once)"
        )
        return ""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8 text (byte {error.start}); convert it first") from error


def _speaks(number: int) -> bool:
    """Whether a pipe has data, or its end, soon."""
    if os.name == "nt":  # there select knows sockets only
        return True
    return bool(select.select([number], [], [], PATIENCE_S)[0])
