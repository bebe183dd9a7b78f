"""Edit a longer text in a window; Ctrl+G opens the person's own editor."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from tui.app import editor
from tui.app.screens.panel import Panel


class EditText(Panel[str]):
    """Gives back the edited text, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", "Accept", id="edit-accept", priority=True),
        Binding("ctrl+g", "editor", "External editor", id="edit-editor", priority=True),
    ]
    DEFAULT_CSS = """
    EditText TextArea { height: 1fr; border: none; background: $panel; padding: 0 1; }
    EditText TextArea:focus { border: none; }
    """
    keys = (("Ctrl+S", "accept"), ("Ctrl+G", "external editor"))

    def __init__(self, heading: str, text: str) -> None:
        super().__init__(classes="-tall")
        self.heading = heading
        self._text = text

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield TextArea(self._text, soft_wrap=True, show_line_numbers=False, tab_behavior="focus")

    def on_mount(self) -> None:
        """Begin at the end."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_accept(self) -> None:
        """Take the text."""
        self.dismiss(self.query_one(TextArea).text)

    def action_editor(self) -> None:
        """Hand the text to the external editor and take it back."""
        area = self.query_one(TextArea)
        try:
            with self.app.suspend():
                text, problem = editor.edit(area.text)
        except Exception as error:  # suspending is impossible in a browser and in tests
            text, problem = area.text, f"The editor cannot be opened here ({type(error).__name__})"
        if problem:
            self.say(problem, problem=True)
        area.load_text(text)
