"""Where the person writes: several lines, history, completion. Enter sends; a paste never does."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from tui.app.history import History
from tui.app.keys import PROMPT
from tui.app.safe import harmless


class Prompt(TextArea):
    """A growing text area. It knows nothing of models; it posts messages."""

    BINDINGS: ClassVar[list[BindingType]] = [replace(binding, priority=True) for binding in PROMPT]
    DEFAULT_CSS = """
    Prompt { height: auto; min-height: 3; max-height: 40%; border: round $quiet; background: $background;
             padding: 0 1; scrollbar-size-vertical: 1; }
    Prompt:focus { border: round $primary; }
    Prompt.-busy:focus { border: round $accent; }
    Prompt .text-area--cursor-line { background: transparent; }
    Prompt .text-area--placeholder { color: $quiet; }
    """

    class Sent(Message):
        """Enter was pressed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Completing(Message):
        """The text before the cursor changed, or a key moves the list of completions."""

        def __init__(self, before: str, whole: str) -> None:
            super().__init__()
            self.before = before
            self.whole = whole

    class Complete(Message):
        """Tab: take the completion; with none open, leave the prompt."""

    class Move(Message):
        """Up or down in the open list of completions."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Edit(Message):
        """Open the text in the external editor."""

    class TakeBack(Message):
        """Up in an empty prompt while messages are queued."""

    def __init__(self, history: History) -> None:
        super().__init__(
            id="prompt",
            show_line_numbers=False,
            soft_wrap=True,
            tab_behavior="focus",
            compact=False,
            highlight_cursor_line=False,
        )
        self.past = history
        self.completing = False
        """Whether a list of completions is open: then up, down, Tab and Enter belong to it."""
        self.completing_for = ""
        """The text before the cursor that the list was made for."""
        self.queued = False
        self.placeholder = Content("Ask something, / for commands, @ for files")

    # Bindings with priority run in the app's message loop, letters in the prompt's own. Each action therefore waits for
    # its turn behind the letters typed before it: a fast "yes<Enter>" must not send an empty message.

    def action_send(self) -> None:
        """Enter."""
        self.call_later(self._send)

    def action_newline(self) -> None:
        """Ctrl+J."""
        self.call_later(self._newline)

    def action_complete(self) -> None:
        """Tab."""
        self.call_later(self._complete)

    def action_editor(self) -> None:
        """Ctrl+G."""
        self.call_later(self._editor)

    def action_back(self) -> None:
        """Up."""
        self.call_later(self._back)

    def action_forward(self) -> None:
        """Down."""
        self.call_later(self._forward)

    def _send(self) -> None:
        """Send, or take the completion that is highlighted.

        Who types faster than the list follows means what was typed: the first of an older list is nobody's choice.
        """
        if self.completing and not self._list_is_old:
            self.post_message(self.Complete())
            return
        # Taken at once: keys that come before the message is handled belong to the next one.
        text = self.text
        self.load_text("")
        self.post_message(self.Sent(text))

    def _newline(self) -> None:
        """A new line at the cursor."""
        self.insert("\n", maintain_selection_offset=False)

    def _complete(self) -> None:
        """Tab."""
        if self._list_is_old:
            self.post_message(self.Completing(self.before_cursor, self.text))
        self.post_message(self.Complete())

    def _editor(self) -> None:
        """Ctrl+G."""
        self.post_message(self.Edit())

    def _back(self) -> None:
        """Up: the list of completions, the line above, or the prompt before."""
        if self.completing:
            self.post_message(self.Move(-1))
        elif self.queued and not self.text:
            self.post_message(self.TakeBack())
        elif self.cursor_location[0] > 0:
            self.action_cursor_up()
        elif (earlier := self.past.back(self.text)) is not None:
            self.replace_all(earlier)

    def _forward(self) -> None:
        """Down: the list of completions, the line below, or the prompt after."""
        if self.completing:
            self.post_message(self.Move(1))
        elif self.cursor_location[0] < self.document.line_count - 1:
            self.action_cursor_down()
        elif (later := self.past.forward()) is not None:
            self.replace_all(later)

    def replace_all(self, text: str) -> None:
        """Put a text into the prompt, cursor at its end."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def give_back(self, text: str) -> None:
        """Put a text that was not taken before what has been typed since."""
        self.replace_all(text + self.text)

    @property
    def _list_is_old(self) -> bool:
        return self.completing_for != self.before_cursor

    @property
    def before_cursor(self) -> str:
        """The text up to the cursor."""
        return self.get_text_range((0, 0), self.cursor_location)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Tell who offers completions."""
        self.post_message(self.Completing(self.before_cursor, self.text))

    async def _on_paste(self, event: events.Paste) -> None:
        """Pasted text is inserted, lines and all, without what cannot be seen; it never sends."""
        event.prevent_default()
        event.stop()
        result = self._replace_via_keyboard(harmless(event.text), *self.selection)
        if result is not None:
            self.move_cursor(result.end_location)
