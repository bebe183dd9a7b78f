"""The chat screen: what is where, and the behaviour of its mixins put together."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widget import Widget

from backends.types import LadderStatus
from tui.app.background import Outcome, in_background
from tui.app.history import History
from tui.app.keys import CHAT
from tui.app.screens.chat_commands import CommandsMixin
from tui.app.widgets.bars import Hints, StatusBar, TitleBar
from tui.app.widgets.completions import Completions
from tui.app.widgets.prompt import Prompt
from tui.app.widgets.queue import Queue
from tui.app.widgets.transcript import Transcript

TINY = 10
"""Rows below which only the messages, the prompt and the status stay."""


class ChatScreen(CommandsMixin):
    """Title, messages, prompt, status, keys."""

    BINDINGS: ClassVar[list[BindingType]] = list(CHAT)
    AUTO_FOCUS = "Prompt"
    DEFAULT_CSS = """
    ChatScreen { layout: vertical; overflow: hidden; }
    ChatScreen.-tiny TitleBar, ChatScreen.-tiny Queue, ChatScreen.-tiny Hints { display: none; }
    ChatScreen.-tiny Prompt, ChatScreen.-tiny Prompt:focus { border: none; min-height: 1; }
    """

    def compose(self) -> ComposeResult:
        """Lay the widgets out."""
        yield TitleBar()
        yield Transcript()
        yield Queue()
        yield Completions()
        yield Prompt(History(self._history_file()))
        yield StatusBar()
        yield Hints()

    def on_resize(self, event: events.Resize) -> None:
        """Where there is hardly any room, the words and the prompt get it."""
        self.set_class(event.size.height < TINY, "-tiny")

    def _history_file(self) -> Path | None:
        return None if self.fovea.read_only else self.fovea.folders.data / "prompts.jsonl"

    async def on_mount(self) -> None:
        """Draw first; the conversation and the model follow."""
        self._deleted = []
        self.show_title()
        self.show_hints()
        self.call_after_refresh(self._arrive)

    async def _arrive(self) -> None:
        await self.sync(reload=True)
        self.load_model()
        await self.show_pending()
        self.offer_tour()

    def load_model(self) -> None:
        """Load the ladder in a thread."""
        self.tell("loading the model")
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()  # Textual finds the app through it

        def making(tier: str, done: float) -> None:
            with contextlib.suppress(RuntimeError):  # the app was closed meanwhile
                loop.call_soon_threadsafe(self._making, tier, done, context=context)

        self.fovea.progress = making
        self.ladder = self.meter = None
        self.show_title()
        in_background(self.fovea.ladder, self._loaded)

    def _making(self, tier: str, done: float) -> None:
        if self.is_attached:
            self.tell(f"making the {tier} tier, once: {done:.0%}")

    def _loaded(self, outcome: Outcome[LadderStatus]) -> None:
        if not self.is_attached:
            return
        if outcome.value is not None:
            self.took_ladder(outcome.value)
            return
        self.tell("No model is loaded", problem=True)
        # It stays on the screen: without a model nothing else can be done.
        settings = self.app.key_of("settings")
        self.call_later(self.said_by_fovea, f"{outcome.problem}  ({settings} opens the settings)", problem=True)

    def took_ladder(self, ladder: LadderStatus) -> None:
        """The ladder is loaded, or one of its tiers was loaded or freed."""
        from tui.app.widgets.welcome import Welcome

        self.ladder = ladder
        missing = [f"{tier.name}: {tier.problem}" for tier in ladder.tiers if tier.problem]
        self.tell("; ".join(missing) if missing else self.what_is_open(), problem=bool(missing))
        for welcome in self.query(Welcome):
            welcome.ready(f"{' · '.join(ladder.loaded())} ready")
        self.show_title()
        self.refresh_meter()

    def stop_everything(self) -> None:
        """Before the app ends."""
        if self.live is not None:
            self.attempt(self.session.cancel)

    # -- events -------------------------------------------------------------------------------------------------------

    @on(Prompt.Sent)
    async def _sent(self, event: Prompt.Sent) -> None:
        if event.text.startswith("/") and not event.text.startswith("//"):
            await self.command(event.text)
        else:
            await self.submit(event.text.removeprefix("/") if event.text.startswith("//") else event.text)

    @on(Prompt.TakeBack)
    def _take_back(self) -> None:
        self.take_back()

    @on(Prompt.Edit)
    def _edit_prompt(self) -> None:
        self.prompt.replace_all(self.external_editor(self.prompt.text))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The keys of the last line follow the focus."""
        self.show_hints()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """When nothing has the focus any more, the prompt gets it."""
        self.call_later(self._refocus)

    def _refocus(self) -> None:
        focused: Widget | None = self.focused
        if focused is None and self.app.screen is self:
            self.prompt.focus()
