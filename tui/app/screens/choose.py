"""Choose one of a few things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.app.safe import harmless, one_line
from tui.app.screens.panel import Panel


class Choose(Panel[int]):
    """Gives back the index of the chosen text, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", id="choose-down", show=False),
        Binding("k", "move(-1)", "Up", id="choose-up", show=False),
    ]
    keys = (("Enter", "choose"), ("j k", "move"))

    def __init__(self, heading: str, texts: Sequence[str], at: int = 0) -> None:
        super().__init__()
        self.heading = heading
        self._texts = texts
        self._at = at

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield OptionList(*[Option(self._option(text)) for text in self._texts], markup=False)

    def on_mount(self) -> None:
        """Begin at the current one."""
        self.query_one(OptionList).highlighted = self._at

    def _option(self, text: str) -> Content:
        lines = harmless(text).splitlines() or [""]
        more = f"  … {len(lines) - 1} more lines" if len(lines) > 1 else ""
        return Content.assemble(one_line(lines[0], 90), (more, "$quiet"))

    def action_move(self, by: int) -> None:
        """Move the highlight."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)
