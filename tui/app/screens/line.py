"""Ask for one line of text."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from tui.app.screens.panel import Panel


class AskLine(Panel[str]):
    """Gives back the line, or ``None``."""

    keys = (("Enter", "accept"),)

    def __init__(self, heading: str, text: str = "", *, placeholder: str = "") -> None:
        super().__init__()
        self.heading = heading
        self._text = text
        self._placeholder = placeholder

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Input(self._text, placeholder=self._placeholder)

    @on(Input.Submitted)
    def _accepted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())
