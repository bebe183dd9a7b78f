"""The frame all windows share: a titled box, Esc closes it, a line of keys at the bottom."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.app.keys import display
from tui.app.safe import one_line

Result = TypeVar("Result")


class KeyLine(Static):
    """Keys with their words, broken into lines only between pairs."""

    DEFAULT_CSS = """
    KeyLine { height: auto; color: $quiet; margin: 1 0 0 0; }
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(self._line(pairs), markup=False, classes="keys")
        self._pairs = pairs

    def on_resize(self, event: events.Resize) -> None:
        """Fit into the new width."""
        lines: list[list[tuple[str, str]]] = [[]]
        used = 0
        for key, words in self._pairs:
            cells = len(key) + 1 + len(words)
            if lines[-1] and used + cells > event.size.width:
                lines.append([])
                used = 0
            lines[-1].append((key, words))
            used += cells + 2
        self.update(Content("\n").join(self._line(line) for line in lines))

    @staticmethod
    def _line(pairs: list[tuple[str, str]]) -> Content:
        parts = [Content.assemble((key, "bold $primary"), f" {words}") for key, words in pairs]
        return Content("  ").join(parts)


class Panel(ModalScreen[Result], Generic[Result]):
    """A window. Subclasses yield their widgets from ``body`` and name their keys in ``keys``."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", id="close", show=False)]
    DEFAULT_CSS = """
    Panel { align: center middle; }
    Panel > .box { width: 92%; max-width: 110; height: auto; max-height: 94%; background: $surface; padding: 0 1;
                   border: round $primary; border-title-color: $primary; border-title-style: bold; }
    Panel.-tall > .box { height: 94%; }
    Panel.-wide > .box { width: 98%; max-width: 100%; height: 98%; max-height: 98%; }
    Panel .notice { height: auto; display: none; }
    Panel OptionList { border: none; background: $surface; height: auto; max-height: 1fr; padding: 0;
                       scrollbar-size-vertical: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Panel OptionList:focus { border: none; background: $surface; background-tint: transparent; }
    Panel OptionList > .option-list--option-highlighted { background: $primary 25%; color: $foreground;
                       text-style: bold; }
    Panel OptionList:focus > .option-list--option-highlighted { background: $primary 35%; color: $foreground;
                       text-style: bold; }
    Panel Input { border: none; height: 1; padding: 0 1; background: $panel; margin: 0 0 1 0; }
    Panel Input:focus { border: none; background-tint: transparent; }
    """
    heading = ""
    keys: tuple[tuple[str, str], ...] = ()
    """Keys and words of the last line. A key that is the id of a binding reads as it is mapped now."""

    def compose(self) -> ComposeResult:
        """Lay the widgets out."""
        with Vertical(classes="box") as box:
            box.border_title = self.heading
            yield from self.body()
            yield Static("", classes="notice", markup=False)
            if self.keys:
                yield KeyLine(self.key_pairs())

    def body(self) -> ComposeResult:
        """The widgets of the window."""
        yield Static("", markup=False)

    def key_pairs(self) -> list[tuple[str, str]]:
        """Keys as they are mapped now, and words."""
        changes: dict[str, str] = getattr(self.app, "key_changes", {})
        own = {binding.id: binding for binding in self.own_bindings()}
        return [
            (display(own[key], changes).partition(" or ")[0] if key in own else key, words)
            for key, words in (*self.keys, ("close", "close"))
        ]

    @classmethod
    def own_bindings(cls) -> list[Binding]:
        """The keys of this window that have an id, its own first."""
        return [
            binding
            for kind in cls.__mro__
            for binding in vars(kind).get("BINDINGS", ())
            if isinstance(binding, Binding) and binding.id
        ]

    def say(self, text: str, *, problem: bool = False) -> None:
        """One line above the keys: what was done, or what is wrong."""
        line = self.query_one(".notice", Static)
        line.display = bool(text)
        line.update(Content.styled(one_line(text), "$error" if problem else "$foreground"))

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
