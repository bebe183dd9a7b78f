"""Foreign text on the screen: always visible, never in charge.

Every string that comes from a model, a file name, a note or a title passes through here before a widget sees it.
Markup is not this module's business: widgets that show foreign text are made with ``markup=False`` or from ``Content``.
"""

from __future__ import annotations

from tui.render.harmless import harmless as _visible
from tui.render.harmless import one_line

__all__ = ["harmless", "one_line", "token_name"]


def harmless(text: str) -> str:
    """Foreign text without escape sequences, control, direction-changing and zero-width characters.

    Args:
        text: anything; newlines and tabs stay.

    Returns:
        Text that can only show itself. Idempotent.
    """
    return _visible(text).replace("\t", "    ")


def token_name(text: str) -> str:
    """One token as a person can read it: spaces, newlines and nothing at all become visible signs."""
    shown = _visible(text).replace("\n", "⏎").replace("\t", "⇥")
    if not shown:
        return "∅"
    return shown.replace(" ", "␣") if shown.strip() == "" else shown.replace(" ", "␣", 1) if shown[0] == " " else shown
