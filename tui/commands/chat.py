"""``fovea chat``: the full-screen app, or the line mode where there is no screen for it."""

from __future__ import annotations

import codecs
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from tui.commands.common import opened, with_settings

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.settings import Settings


@click.command("chat")
@click.option(
    "--plain", is_flag=True, help="The line mode (also when TERM=dumb, or there is no terminal, or one without UTF-8)."
)
@click.option(
    "--session", "--resume", "session_id", default=None, help="Open this conversation (id, its start, `last`)."
)
@click.option(
    "--listen",
    metavar="[HOST:]PORT",
    is_flag=False,
    flag_value="127.0.0.1:7860",
    default=None,
    help="Serve the app in a browser, on this machine only (127.0.0.1:7860).",
)
@click.option("--public", is_flag=True, help="With --listen: allow an address that others can reach; needs a token.")
@with_settings
def chat(plain: bool, session_id: str | None, listen: str | None, public: bool, settings: Settings) -> int:
    """Talk: the full-screen app, or a line mode with --plain."""
    if listen is not None:
        from tui.app.listen import listen as serve

        session = ("--session", session_id) if session_id else ()
        return serve(listen, public=public, arguments=(*session, *_flags(settings)))
    with opened(settings) as fovea:
        fovea.memory.start()
        if plain or not has_screen():
            return _plain(fovea, session_id)
        from tui.app.run import run_app

        fovea.progress = None  # the app owns the terminal now
        return run_app(fovea, None if session_id is None else fovea.session(session_id).id)


def _flags(settings: Settings) -> list[str]:
    """The settings chosen for this run, as flags for the program of every visitor."""
    from agent import paths
    from agent.settings_file import flatten, load

    written = flatten(load(paths.find().settings))
    changed = {key: value for key, value in flatten(settings).items() if value != written[key]}
    return [part for key, value in changed.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def has_screen() -> bool:
    """Whether a full-screen program can run here."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return True  # served in a browser: the other end of the pipe is a screen
    if not sys.stdin.isatty() or not sys.stdout.isatty() or os.environ.get("TERM", "") in ("", "dumb"):
        return False
    return codecs.lookup(sys.stderr.encoding).name == "utf-8"  # what Textual draws goes there, frames and all


def _plain(fovea: Fovea, session_id: str | None) -> int:
    from tui.plain import LineMode

    return LineMode(fovea, fovea.session(session_id), interactive=sys.stdin.isatty()).run()
