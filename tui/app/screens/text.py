"""A text in a window, to read and to copy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.app import clipboard
from tui.app.safe import harmless
from tui.app.screens.panel import Panel


class TextScreen(Panel[None]):
    """Shows foreign text as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "Copy", id="text-copy")]
    DEFAULT_CSS = """
    TextScreen VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    TextScreen VerticalScroll > Static { height: auto; }
    """
    keys = (("↑ ↓", "scroll"), ("text-copy", "copy"))

    def __init__(self, heading: str, text: str) -> None:
        super().__init__(classes="-tall")
        self.heading = heading
        self._text = text

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        with VerticalScroll():
            yield Static(Content(harmless(self._text) or "Nothing yet"), markup=False)

    def on_mount(self) -> None:
        """Scrolling keys work at once."""
        self.query_one(VerticalScroll).focus()

    def action_copy(self) -> None:
        """Copy all of it."""
        self.say(clipboard.copy(self._text, self.app.copy_to_clipboard))
