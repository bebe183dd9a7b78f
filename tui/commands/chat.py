"""``fovea chat``: the full-screen app, or the line mode where there is no screen for it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from tui.commands.common import opened, with_settings

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.settings import Settings


@click.command("chat")
@click.option("--plain", is_flag=True, help="The line mode (also when TERM=dumb, or there is no terminal).")
@click.option(
    "--session", "--resume", "session_id", default=None, help="Open this conversation (id, its start, `last`)."
)
@with_settings
def chat(plain: bool, session_id: str | None, settings: Settings) -> int:
    """Talk: the full-screen app, or a line mode with --plain."""
    with opened(settings) as fovea:
        fovea.memory.start()
        if plain or not has_screen():
            return _plain(fovea, session_id)
        from tui.app.run import run_app

        fovea.progress = None  # the app owns the terminal now
        return run_app(fovea, None if session_id is None else fovea.session(session_id).id)


def has_screen() -> bool:
    """Whether a full-screen program can run here."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _plain(fovea: Fovea, session_id: str | None) -> int:
    from tui.plain import LineMode

    return LineMode(fovea, fovea.session(session_id), interactive=sys.stdin.isatty()).run()
