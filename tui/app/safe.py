"""Foreign text on the screen: always visible, never in charge.

Every string that comes from a model, a file name, a note or a title passes through here before a widget sees it.
Markup is not this module's business: widgets that show foreign text are made with ``markup=False`` or from ``Content``.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from tui.render.harmless import harmless as _visible
from tui.render.harmless import one_line as _one_line

__all__ = ["harmless", "one_line", "token_name"]


def harmless(text: str) -> str:
    """Foreign text without escape sequences, control, direction-changing and zero-width characters.

    Args:
        text: anything; newlines and tabs stay.

    Returns:
        Text that can only show itself. Idempotent.
    """
    return _visible(text).replace("\t", "    ")


def one_line(text: str, width: int = 0) -> str:
    """Foreign text as one line, cut with an ellipsis at ``width`` cells (0: not cut); a wide character takes two."""
    line = _one_line(text)
    if not width or cell_len(line) <= width:
        return line
    return set_cell_size(line, max(1, width - 1)).rstrip() + "…"


def token_name(text: str) -> str:
    """One token as a person can read it: spaces, newlines and nothing at all become visible signs."""
    shown = _visible(text).replace("\n", "⏎").replace("\t", "⇥")
    if not shown:
        return "∅"
    return shown.replace(" ", "␣") if shown.strip() == "" else shown.replace(" ", "␣", 1) if shown[0] == " " else shown
