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

    def __init__(self, heading: str, text: str, mark: tuple[int, int] = (0, 0)) -> None:
        """``mark``: the characters to show the text at, set off from the rest."""
        super().__init__(classes="-tall")
        self.heading = heading
        self._text = text
        self._mark = mark

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        with VerticalScroll():
            yield Static(self._content(), markup=False)

    def _content(self) -> Content:
        start, end = self._mark
        if start >= end:
            return Content(harmless(self._text) or "Nothing yet")
        before, marked, after = (harmless(part) for part in self._parts())
        return Content.assemble(before, (marked, "bold on $primary 20%"), after)

    def _parts(self) -> tuple[str, str, str]:
        start, end = self._mark
        return self._text[:start], self._text[start:end], self._text[end:]

    def on_mount(self) -> None:
        """Scrolling keys work at once."""
        scroll = self.query_one(VerticalScroll)
        scroll.focus()
        if self._mark[1] > self._mark[0]:
            self.call_after_refresh(self._go_to_mark)

    def _go_to_mark(self) -> None:
        """Show the marked place a few lines below the upper edge; lines wrap, so they are counted at this width."""
        scroll = self.query_one(VerticalScroll)
        width = max(scroll.scrollable_content_region.width, 1)
        above = Content(harmless(self._parts()[0])).wrap(width)
        scroll.scroll_to(y=max(len(above) - 4, 0), animate=False)

    def action_copy(self) -> None:
        """Copy all of it."""
        self.say(clipboard.copy(self._text, self.app.copy_to_clipboard))
