"""The slash commands in the line mode: a table from the registry's keys to functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import TurnError
from tui import plain_looking as looking
from tui import plain_replies as replies
from tui import privacy, registry
from tui.render.harmless import one_line

if TYPE_CHECKING:
    from tui.plain import LineMode

ALIASES = {
    "resume": "sessions",
    "search": "sessions",
    "n": "several",
    "regen": "again",
    "why": "density",
    "exit": "quit",
    "q": "quit",
}
"""Other names for commands; an exact name of the registry wins."""
DOUBT = 0.25
"""Tokens at least this dense are listed by /density."""
ARGUMENTS = {"code": "[NUMBER]", "ladder": "[load|free TIER]", "settings": "[KEY] [VALUE]"}
"""What takes an argument here where the full screen has a window."""


def handle(mode: LineMode, line: str) -> None:
    """Carry out one typed command."""
    name, argument = registry.split(line)
    command = next((c for c in registry.COMMANDS if c.name == name), None)
    command = command or registry.find(ALIASES.get(name, name))
    if command is None:
        mode.line(f"! There is no command /{name}; /help lists them (// begins a message with a slash)")
        return
    ACTIONS[command.key](mode, argument)


def _help(mode: LineMode, argument: str) -> None:
    for command in registry.COMMANDS:
        usage = f"/{command.name} {ARGUMENTS.get(command.key, command.args)}".rstrip()
        mode.line(f"{usage:34} {command.help}")


def _new(mode: LineMode, argument: str) -> None:
    mode.session, mode.versions = mode.fovea.session(), []
    mode.line("[a new conversation]")


def _sessions(mode: LineMode, argument: str) -> None:
    """List, or open the one conversation that is meant."""
    from agent.errors import NotFoundError

    if argument:
        try:
            mode.session, mode.versions = mode.fovea.session(argument), []
        except NotFoundError:
            pass
        else:
            mode.line(f"[{one_line(mode.session.title, 80)}]")
            for node in mode.session.path(steps=False)[-4:]:
                mode.line(f"{'you' if node.role == 'user' else 'fovea'}: {node.text}")
            return
    found = mode.fovea.sessions(argument)
    for info in found[:20]:
        mode.line(f"{info.id}  {info.messages:4d}  {one_line(info.title, 80)}")
    mode.line("[/sessions ID opens one]" if found else "[none found]")


def _rename(mode: LineMode, argument: str) -> None:
    if not argument:
        raise TurnError("Say the title: /rename My conversation")
    mode.session.rename(argument)


def _archive(mode: LineMode, argument: str) -> None:
    mode.session.archive()
    _new(mode, "")


def _private(mode: LineMode, argument: str) -> None:
    on = privacy.wanted(argument)
    mode.session.set_private(on)
    mode.line(f"[{privacy.said(on)}]")


def _delete(mode: LineMode, argument: str) -> None:
    mode.session.delete_session()
    mode.line("[deleted; /undo brings it back]")


def _undo(mode: LineMode, argument: str) -> None:
    mode.line("[brought back]" if mode.session.undo() else "[there is nothing to bring back]")


def _export(mode: LineMode, argument: str) -> None:
    from agent.paths import write_where_told

    first, _, rest = argument.partition(" ")
    kind = first if first in ("json", "markdown") else ""
    name = rest.strip() if kind else argument
    text = mode.session.export("json" if kind == "json" or name.endswith(".json") else "markdown")
    if not name:
        mode.line(text)
        return
    target = _file(name)
    if target.exists():
        raise TurnError(f"{target} is there already; say another name")
    write_where_told(target, text)
    mode.line(f"[written to {target}]")


def _file(name: str) -> Path:
    """The file a person means. Raises TurnError where no file can be called so (too long, the home of nobody)."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TurnError(f"{one_line(name, 60)} is no name of a file: {reason}") from error
    return path


def _import(mode: LineMode, argument: str) -> None:
    from agent.importing import import_file

    _sessions(mode, import_file(mode.fovea.tree, _file(argument), lambda line: mode.line(f"! {line}")))


def _quit(mode: LineMode, argument: str) -> None:
    mode.done = True


ACTIONS: dict[str, Callable[[LineMode, str], None]] = {
    "help": _help,
    "new": _new,
    "sessions": _sessions,
    "rename": _rename,
    "archive": _archive,
    "private": _private,
    "delete": _delete,
    "undo": _undo,
    "export": _export,
    "import": _import,
    "closer": replies.closer,
    "again": replies.again,
    "several": replies.several,
    "compare": replies.compare,
    "blind": replies.blind,
    "pick": replies.pick,
    "continue": replies.continue_,
    "edit": replies.edit,
    "density": replies.density,
    "forks": replies.forks,
    "tree": looking.tree,
    "bookmark": looking.bookmark,
    "memory": looking.memory,
    "note": looking.note,
    "ladder": looking.ladder,
    "tier": looking.tier,
    "policy": looking.policy,
    "budget": looking.budget,
    "log": looking.log,
    "prompt": looking.prompt,
    "context": looking.context,
    "compact": looking.compact,
    "copy": replies.copy,
    "code": replies.code,
    "settings": looking.settings,
    "theme": looking.theme,
    "tour": looking.tour,
    "quit": _quit,
}
"""Key of the registry -> what the line mode does."""
