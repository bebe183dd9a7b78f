"""What the person wrote, and single lines between messages."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from agent.values import Node
from tui.app.safe import harmless, one_line

LONGEST = 6000
"""Characters of a message shown before it is folded: pasted files would push the conversation away."""


class Said(Static, can_focus=True):
    """A message of the person. ``node`` is ``None`` until it is committed."""

    DEFAULT_CSS = """
    Said { height: auto; padding: 0 1; margin: 1 0 1 0; background: $surface; border-left: outer $primary 60%; }
    Said:focus { border-left: outer $accent; background: $panel; }
    Said.-pending { color: $quiet; }
    """

    def __init__(self, text: str, node: Node | None = None, versions: tuple[int, int] = (1, 1)) -> None:
        super().__init__(markup=False)
        self.node = node
        self.said = text
        self.versions = versions
        self.set_class(node is None, "-pending")

    def on_mount(self) -> None:
        """Draw once the theme's colours are known."""
        self._draw()

    def commit(self, node: Node) -> None:
        """The message is stored."""
        self.node = node
        self.said = node.text
        self.remove_class("-pending")
        self._draw()

    def _draw(self) -> None:
        text = harmless(self.said)
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters"
        parts: list[Content] = [Content(text)]
        facts = [f"version {self.versions[0]} of {self.versions[1]}"] if self.versions[1] > 1 else []
        if self.node and self.node.bookmark:
            facts.append(f"★ {one_line(self.node.bookmark, 30)}")
        if facts:
            parts.append(Content.styled("\n" + " · ".join(facts), "$quiet"))
        self.update(Content("").join(parts))


class Folded(Static, can_focus=True):
    """Where older messages were folded into a summary: one line, Enter or a click opens it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,o", "open", "Open or close", id="folded-open")]
    DEFAULT_CSS = """
    Folded { height: auto; padding: 0 2; margin: 0 0 1 0; color: $quiet; border-left: outer $panel; }
    Folded:focus { border-left: outer $accent; }
    """

    def __init__(self, node: Node) -> None:
        super().__init__(markup=False)
        self.node = node
        self.opened = False

    def on_mount(self) -> None:
        """Draw closed."""
        self._draw()

    def _draw(self) -> None:
        sign = "▾" if self.opened else "▸"
        body = f"\n{harmless(self.node.text)}" if self.opened else ""
        head = (
            "Everything above is folded into a summary for the model; your own words stay as they are. Enter shows it."
        )
        self.update(Content.assemble((f"{sign} ", "$accent"), head, (body, "$foreground")))

    def action_open(self) -> None:
        """Open or close."""
        self.opened = not self.opened
        self._draw()

    def on_click(self) -> None:
        """The same with the mouse."""
        self.action_open()


class Notice(Static):
    """One line from fovea: a host was restarted, messages were left out, something was copied."""

    DEFAULT_CSS = """
    Notice { height: auto; padding: 0 2; color: $quiet; margin: 0 0 1 0; }
    Notice.-problem { color: $error; }
    """

    def __init__(self, text: str, *, problem: bool = False) -> None:
        sign = "!" if problem else "·"
        super().__init__(f"{sign} {one_line(text)}", markup=False, classes="-problem" if problem else "")
