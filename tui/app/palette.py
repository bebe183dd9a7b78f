"""The command palette: every command and action of fovea, found by a few letters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from tui.app import keys
from tui.registry import COMMANDS

if TYPE_CHECKING:
    from tui.app.app import FoveaApp

_WITHOUT_ARGUMENT = frozenset({"rename", "note", "pick", "import"})
"""Commands that are nothing without an argument: they put themselves into the prompt."""


def commands(app: FoveaApp) -> Iterator[SystemCommand]:
    """Everything that can be done, commands first, then keys that are no command."""
    chat = app.chat
    for command in COMMANDS:
        line = f"/{command.name}"
        if command.key in _WITHOUT_ARGUMENT:
            yield SystemCommand(command.help, command.usage, partial(chat.begin_command, f"{line} "))
        else:
            yield SystemCommand(command.help, command.usage, partial(chat.call_later, chat.command, line))
    for binding in [*keys.CHAT, *keys.TRANSCRIPT]:
        if binding.id and not binding.id.startswith("pick-") and binding.description:
            key = keys.display(binding, app.key_changes)
            run = partial(chat.call_later, chat.run_action, binding.action)
            yield SystemCommand(binding.description, f"key {key}", run)
    for name in sorted(app.available_themes):
        yield SystemCommand(f"Theme {name}", "use this colour theme", partial(app.choose_theme, name))
