"""F1: the keys that work here, then all others; every key with the id that remaps it."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tui.app import keys
from tui.app.screens.panel import Panel
from tui.registry import COMMANDS


class Help(Panel[None]):
    """Help for the place where it was asked for."""

    DEFAULT_CSS = """
    Help VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    Help Static { height: auto; }
    """
    heading = "Help"
    keys = (("↑ ↓", "scroll"),)

    def __init__(self, screen: Screen[object] | None = None, focused: Widget | None = None) -> None:
        super().__init__(classes="-tall")
        self._window = screen if isinstance(screen, Panel) else None
        self._place = self._window.heading if self._window else _place(focused)

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        with VerticalScroll():
            yield Static(self._text(), markup=False)

    def _text(self) -> Content:
        changes: dict[str, str] = getattr(self.app, "key_changes", {})
        groups = keys.all_bindings()
        if self._window is not None:
            inside = [b for widget in self._window.query("*") for b in _named(type(widget))]
            groups.append((self._place, [*self._window.own_bindings(), *dict.fromkeys(inside)]))
        groups.sort(key=lambda group: group[0] != self._place)
        tables = [(heading, _rows(bindings, changes)) for heading, bindings in groups]
        every = [row for _, rows in tables for row in rows]
        keys_wide, words_wide = (max(cell_len(row[column]) for row in every) + 1 for column in (0, 1))
        lines: list[Content] = []
        for heading, rows in tables:
            here = " (you are here)" if heading == self._place else ""
            lines.append(Content.styled(f"{heading}{here}", "bold $accent"))
            for key, words, id in rows:
                shown = set_cell_size(key, keys_wide), set_cell_size(words, words_wide)
                lines.append(Content.assemble((shown[0], "$primary"), shown[1], (id, "$quiet")))
            lines.append(Content(""))
        lines.append(Content.styled("Commands", "bold $accent"))
        lines += [Content.assemble((f"{c.usage:<30}", "$primary"), c.help) for c in COMMANDS]
        lines += [
            Content(""),
            Content.styled("Remap a key in the settings: screen.keys: {look-closer: ctrl+l}", "$quiet"),
        ]
        return Content("\n").join(lines)


def _named(kind: type[Widget]) -> list[Binding]:
    """The keys with an id of a widget of ours."""
    return [b for b in vars(kind).get("BINDINGS", ()) if isinstance(b, Binding) and b.id]


def _rows(bindings: list[Binding], changes: dict[str, str]) -> list[tuple[str, str, str]]:
    """Key, words and id of each; the nine keys that pick a version are one row."""
    rows = []
    for binding in bindings:
        if (binding.id or "").startswith("pick-") and binding.id != "pick-1":
            continue
        key = "1 … 9" if binding.id == "pick-1" else keys.display(binding, changes)
        words = "Pick that version" if binding.id == "pick-1" else binding.description
        rows.append((key, words, binding.id or ""))
    return rows


def _place(asked_from: Widget | None) -> str:
    names = {"Prompt": "While writing", "Reply": "On a message", "Said": "On a message"}
    names["Card"] = "On a proposed closer look"
    return names.get(type(asked_from).__name__, "In the chat")
