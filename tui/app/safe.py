"""Foreign text on the screen: always visible, never in charge.

Every string that comes from a model, a file name, a note or a title passes through here before a widget sees it.
Markup is not this module's business: widgets that show foreign text are made with ``markup=False`` or from ``Content``.
"""

from __future__ import annotations

from memory.safety import clean


def harmless(text: str) -> str:
    """Foreign text without escape sequences, control, direction-changing and zero-width characters.

    Args:
        text: anything; newlines and tabs stay.

    Returns:
        Text that can only show itself. Idempotent.
    """
    return clean(text).text.replace("\t", "    ")


def one_line(text: str, width: int = 0) -> str:
    """Foreign text as one line: white space folded, cut with an ellipsis at ``width`` characters (0: not cut)."""
    line = " ".join(harmless(text).split())
    return line if not width or len(line) <= width else line[: max(1, width - 1)].rstrip() + "…"


def token_name(text: str) -> str:
    """One token as a person can read it: spaces, newlines and nothing at all become visible signs."""
    shown = clean(text).text.replace("\n", "⏎").replace("\t", "⇥")
    if not shown:
        return "∅"
    return shown.replace(" ", "␣") if shown.strip() == "" else shown.replace(" ", "␣", 1) if shown[0] == " " else shown
