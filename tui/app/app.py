"""The app: themes, keys, the stack of screens. Everything that happens in a conversation is in ``screens/chat.py``.

First paint comes before anything heavy: the model is loaded in a thread, screens other than the chat are imported
when they are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.worker import WorkerFailed

from tui.app import keys, themes
from tui.app.background import sentence
from tui.app.job_control import mend_continue

if TYPE_CHECKING:
    from textual.screen import Screen

    from agent.app import Fovea
    from tui.app.screens.chat import ChatScreen


log = logging.getLogger(__name__)


class FoveaApp(App[int]):
    """One process, one window on the conversations."""

    TITLE = "fovea"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_DISPLAY = "Ctrl+P"
    BINDINGS: ClassVar[list[BindingType]] = list(keys.APP)
    CSS = """
    Screen { background: $background; }
    ModalScreen { background: $background 70%; }
    CommandPalette { background: $background 70%; }
    Toast { background: $panel; }
    """

    def __init__(self, fovea: Fovea, session_id: str | None = None) -> None:
        super().__init__()
        self.fovea = fovea
        self.first_session = session_id
        self.key_changes: dict[str, str] = dict(fovea.settings.screen.keys)
        self.fault: Exception | None = None
        """What ended the app, where nobody asked it to end."""
        self._interrupted = 0.0
        for theme in themes.themes():
            self.register_theme(theme)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Tier and density colours for themes that do not name them."""
        return themes.fallbacks()

    def on_mount(self) -> None:
        """Theme, keys, and the chat."""
        from tui.app.screens.chat import ChatScreen

        wanted = self.fovea.settings.screen.theme
        self.theme = wanted if wanted in self.available_themes else themes.DEFAULT
        self.set_keymap(self.key_changes)
        self.push_screen(ChatScreen(self.fovea, self.first_session))
        asyncio.get_running_loop().set_exception_handler(self._callback_failed)
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            # Windows has no such handlers, and an app in a thread (a test) may not set them.
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                asyncio.get_running_loop().add_signal_handler(number, self._told_to_end, number)
        if self._driver is not None and hasattr(signal, "SIGCONT"):
            with contextlib.suppress(ValueError):  # not in the main thread
                mend_continue(self._driver)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        """A fault in a handler, a timer or a worker. What it belonged to is dead, so the app ends, in good order.

        Textual would print a traceback with the values of local variables; here ``run_app`` raises the fault once the
        terminal is given back, and the command line does with it what it does with every other.
        """
        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        if self.fault is not None:  # the first one is told; others follow from it
            log.error("another fault while ending", exc_info=error)
            return
        self.fault = error
        with contextlib.suppress(Exception):
            self.chat.stop_everything()
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End; see above."""
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:
        """End, without Textual's own account of an error that knows how to draw itself."""
        self._close_messages_no_wait()

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something the event loop called for itself failed (a result of background work): the app goes on."""
        error = context.get("exception")
        log.error("in the event loop: %s", context.get("message"), exc_info=error)
        if isinstance(error, Exception):
            with contextlib.suppress(Exception):  # it is ending
                self.chat.tell(sentence(error), problem=True)

    @property
    def chat(self) -> ChatScreen:
        """The chat screen, wherever it is in the stack."""
        from tui.app.screens.chat import ChatScreen

        return next(screen for screen in self.screen_stack if isinstance(screen, ChatScreen))

    def choose_theme(self, name: str) -> None:
        """Use a theme now and from now on."""
        self.theme = name
        problem = self.save_settings({"screen.theme": name})
        if problem:
            self.chat.tell(problem, problem=True)

    def save_settings(self, changes: dict[str, Any]) -> str:
        """Write settings to the file; gives back a problem, or nothing."""
        from agent.errors import AgentError
        from agent.settings_file import save

        try:
            save(self.fovea.folders.settings, changes)
            self.fovea.change(changes)  # flags of this run stay in force, so the file's settings are not taken whole
        except AgentError as error:
            return str(error)
        if "screen.theme" in changes and changes["screen.theme"] in self.available_themes:
            self.theme = changes["screen.theme"]
        if "screen.keys" in changes:
            self.key_changes = dict(self.fovea.settings.screen.keys)
            self.set_keymap(self.key_changes)
        return ""

    # -- keys ---------------------------------------------------------------------------------------------------------

    def key_of(self, binding_id: str) -> str:
        """How the key of a binding reads after remapping."""
        for _, group in keys.all_bindings():
            for binding in group:
                if binding.id == binding_id:
                    return keys.display(binding, self.key_changes)
        return ""

    def hints_for(self, focused: Widget | None, *, busy: bool, queued: int) -> list[tuple[str, str]]:
        """Keys and words for the last line."""
        from tui.app.widgets.card import Card
        from tui.app.widgets.reply import Reply
        from tui.app.widgets.said import Said

        key = self.key_of
        tail = [(key("palette"), "commands"), (key("help"), "help")]
        if isinstance(focused, Card):
            return [(key("card-leave"), "decide later"), *tail]
        if focused is not None and isinstance(focused.parent, Card):
            return [("Enter", "refuses for this reason"), (key("card-leave"), "back"), *tail]
        if isinstance(focused, Reply):
            return [
                (key("density"), "density"),
                (key("forks"), "forks"),
                (key("look-closer"), "closer"),
                (key("continuations"), "several"),
                (key("regenerate"), "again"),
                (key("edit"), "edit"),
                (key("copy"), "copy"),
                ("h l", "versions"),
                ("j k", "move"),
                ("i", "write"),
                *tail,
            ]
        if isinstance(focused, Said):
            return [(key("edit"), "edit"), (key("regenerate"), "reply again"), ("j k", "move"), ("i", "write"), *tail]
        if busy:
            return [(key("stop"), "stop"), (key("send"), "queues" if not queued else "queues one more"), *tail]
        return [
            ("Enter", "send"),
            ("Ctrl+J", "new line"),
            (key("look-closer"), "closer"),
            ("Tab", "messages"),
            *tail,
            (key("sessions"), "conversations"),
        ]

    def action_interrupt(self) -> None:
        """Ctrl+C copies a selection; twice in two seconds it ends the app."""
        selected = self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            self.chat.tell(f"Copied {len(selected):,} characters")
            return
        now = time.monotonic()
        if now - self._interrupted < 2:
            self.call_later(self.action_quit)
            return
        self._interrupted = now
        self.chat.tell("Ctrl+C once more quits")

    def action_help(self) -> None:
        """F1: the keys of this place."""
        from tui.app.screens.help import Help

        if not isinstance(self.screen, Help):
            self.push_screen(Help(self.screen, self.screen.focused))

    def _told_to_end(self, number: int) -> None:
        """A signal: the part written is kept and the terminal given back; the second one ends at once."""
        asyncio.get_running_loop().remove_signal_handler(number)
        self.chat.stop_everything()
        self.exit(128 + number, return_code=128 + number)

    async def action_quit(self) -> None:
        """End; a running reply is stopped first and its part kept."""
        self.chat.stop_everything()
        self.exit(0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every command of fovea in the palette."""
        from tui.app.palette import commands

        yield from commands(self)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: object) -> None:
        """Two actions on one key: say it once, in the log and in the status bar."""
        names = ", ".join(sorted(binding.id or binding.action for binding in clashed_bindings))
        self.log.warning(f"keys clash: {names}")
