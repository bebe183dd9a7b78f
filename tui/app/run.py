"""The door of the app for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.app import Fovea


def run_app(fovea: Fovea, session_id: str | None = None) -> int:
    """Run the full-screen app until the person quits.

    Args:
        fovea: opened by the caller, who also closes it.
        session_id: the conversation to open; ``None`` begins a new one.

    Returns:
        The exit code.

    Raises:
        Exception: A fault ended the app. The terminal is the caller's again.
    """
    from tui.app.app import FoveaApp

    app = FoveaApp(fovea, session_id)
    app.run()
    if app.fault is not None:
        raise app.fault
    return app.return_code or 0
