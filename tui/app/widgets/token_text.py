"""A reply as tokens with marks, and a cursor that walks them. Readable without colour (see ``marks``)."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from backends.types import Step
from tui.app import marks
from tui.app.layout import Line, wrap
from tui.app.safe import harmless


class TokenText(ScrollView, can_focus=True):
    """Draws steps; posts ``Moved`` whenever the cursor stands on another token."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "step(1)", "Next token", id="token-next"),
        Binding("left,h", "step(-1)", "Previous token", id="token-previous"),
        Binding("down,j", "row(1)", "Line below", id="token-down"),
        Binding("up,k", "row(-1)", "Line above", id="token-up"),
        Binding("n,tab", "dense(1)", "Next dense token", id="token-dense-next"),
        Binding("N,shift+tab", "dense(-1)", "Previous dense token", id="token-dense-previous"),
        Binding("home,g", "edge(-1)", "First token", id="token-first"),
        Binding("end,G", "edge(1)", "Last token", id="token-last"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--plain",
        "tokens--sign",
        "tokens--cursor",
        "tokens--chosen",
        *marks.STYLES,
    }
    DEFAULT_CSS = """
    TokenText { background: transparent; padding: 0; scrollbar-size-vertical: 1; }
    TokenText > .tokens--sign { color: $tier-high; }
    TokenText > .tokens--cursor { text-style: reverse bold; }
    TokenText > .tokens--chosen { background: $primary 40%; text-style: bold; }
    TokenText > .tokens--dense-1 { background: $dense-1; }
    TokenText > .tokens--dense-2 { background: $dense-2; }
    TokenText > .tokens--dense-3 { background: $dense-3; }
    TokenText > .tokens--dense-0-confirmed { text-style: underline; }
    TokenText > .tokens--dense-1-confirmed { background: $dense-1; text-style: underline; }
    TokenText > .tokens--dense-2-confirmed { background: $dense-2; text-style: underline; }
    TokenText > .tokens--dense-3-confirmed { background: $dense-3; text-style: underline; }
    TokenText > .tokens--dense-0-overruled { text-style: bold; }
    TokenText > .tokens--dense-1-overruled { background: $dense-1; text-style: bold; }
    TokenText > .tokens--dense-2-overruled { background: $dense-2; text-style: bold; }
    TokenText > .tokens--dense-3-overruled { background: $dense-3; text-style: bold; }
    TokenText > .tokens--dense-1-verified { background: $dense-1; }
    TokenText > .tokens--dense-2-verified { background: $dense-2; }
    TokenText > .tokens--dense-3-verified { background: $dense-3; }
    """

    class Moved(Message):
        """The cursor stands on token ``at``."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self, steps: tuple[Step, ...], *, at: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.at = at
        self._pieces = marks.pieces(steps, [harmless(step.text) for step in steps])
        self._drawn: list[Line] = []
        self._width = 0

    def on_mount(self) -> None:
        """Tell where the cursor stands."""
        self.post_message(self.Moved(self.at))

    def on_resize(self, event: events.Resize) -> None:
        """Wrap to the new width."""
        self._wrap()

    def rows(self, width: int) -> int:
        """Lines the text takes at a width in cells."""
        return len(wrap(self._pieces, max(1, width)))

    def _wrap(self) -> None:
        width = max(1, self.scrollable_content_region.width)
        if width != self._width:
            self._width = width
            self._drawn = wrap(self._pieces, width)
            self.virtual_size = Size(width, len(self._drawn))
            self.refresh()
            self._show_cursor()

    def render_line(self, y: int) -> Strip:
        """One line of tokens."""
        row = y + self.scroll_offset.y
        if not 0 <= row < len(self._drawn):
            return Strip.blank(self.size.width, self.rich_style)
        base = self.rich_style
        cursor = self.get_component_rich_style("tokens--cursor", partial=True)
        segments = []
        for piece in self._drawn[row].pieces:
            style = base + self.get_component_rich_style(piece.style, partial=True)
            if piece.token == self.at and piece.style not in ("tokens--plain", "tokens--sign"):
                style += cursor
            segments.append(Segment(piece.text, style))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    # -- the cursor ---------------------------------------------------------------------------------------------------

    def go(self, at: int) -> None:
        """Put the cursor on a token."""
        at = min(max(0, at), max(0, len(self.steps) - 1))
        if at != self.at:
            self.at = at
            self.refresh()
            self._show_cursor()
            self.post_message(self.Moved(at))

    def _row_of(self, token: int) -> int:
        return next((y for y, line in enumerate(self._drawn) if any(p.token == token for p in line.pieces)), 0)

    def _show_cursor(self) -> None:
        self.scroll_to_region(Region(0, self._row_of(self.at), self._width, 1), animate=False, force=True)

    def action_step(self, by: int) -> None:
        """Next or previous token that shows something."""
        at = self.at + by
        while 0 <= at < len(self.steps) and not self.steps[at].text.strip():
            at += by
        if 0 <= at < len(self.steps):
            self.go(at)

    def action_row(self, by: int) -> None:
        """The token below or above."""
        row = self._row_of(self.at)
        column = 0
        for piece in self._drawn[row].pieces if self._drawn else []:
            if piece.token == self.at:
                break
            column += len(piece.text)
        target = row + by
        while 0 <= target < len(self._drawn) and not any(p.text.strip() for p in self._drawn[target].pieces):
            target += by
        if not 0 <= target < len(self._drawn):
            return
        self.go(self._at_column(target, column))

    def _at_column(self, row: int, column: int) -> int:
        used, found = 0, self.at
        for piece in self._drawn[row].pieces:
            if piece.text.strip():
                found = piece.token
                if used + len(piece.text) > column:
                    break
            used += len(piece.text)
        return found

    def action_dense(self, by: int) -> None:
        """Next or previous token that is dense or that a higher tier looked at."""
        order = range(self.at + 1, len(self.steps)) if by > 0 else range(self.at - 1, -1, -1)
        for at in order:
            step = self.steps[at]
            if marks.level(step.density) or marks.AFTER[step.why]:
                self.go(at)
                return

    def action_edge(self, where: int) -> None:
        """First or last token."""
        self.go(0 if where < 0 else len(self.steps) - 1)

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a token."""
        row = event.y + self.scroll_offset.y
        if 0 <= row < len(self._drawn):
            self.go(self._at_column(row, event.x))
