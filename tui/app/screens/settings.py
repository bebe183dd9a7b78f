"""The settings, generated from their schema: every key with its meaning, changed in place and written at once."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from agent.errors import AgentError
from agent.settings import Settings
from agent.settings_doc import descriptions, fields
from agent.settings_file import flatten, parse_value
from tui.app.safe import one_line
from tui.app.screens.panel import Panel

if TYPE_CHECKING:
    from agent.app import Fovea

WHEN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("model", "tiers", "engine."), "The model is loaded anew when you close this window."),
    (("folders.",), "Counts when fovea is started again."),
    (("policy.mode", "policy.scope", "policy.budget"), "For new conversations; F2 changes this one."),
    (("screen.tour",), ""),
    (("screen.", "log_level"), "Counts at once."),
    (("",), "Counts from the next message on."),
)
"""Beginnings of keys, and when a change of them counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting."""

    key: str
    help: str
    choices: tuple[str, ...]
    """Allowed values where there are only a few; ``true`` and ``false`` for switches."""


def entries() -> Iterator[Entry]:
    """Every leaf of the schema, in its order."""
    meanings = descriptions()
    for key, field in fields():
        yield Entry(key, meanings[key], _choices(field.annotation))


def _choices(kind: Any) -> tuple[str, ...]:
    if kind is bool:
        return ("true", "false")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    if typing.get_origin(kind) is Literal:
        return tuple(str(value) for value in typing.get_args(kind))
    return ()


def when(key: str) -> str:
    """When a change of a setting counts, in words."""
    return next(words for beginnings, words in WHEN if key.startswith(beginnings))


def shown(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value in ("", {}, [], ()):
        return "(empty)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inner}" for key, inner in value.items()) + "}"
    return str(value)


class SettingsScreen(Panel[None]):
    """A list with a search line; Enter changes, Ctrl+X goes back to the default."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "cursor(1)", "Down", id="settings-down", show=False, priority=True),
        Binding("up", "cursor(-1)", "Up", id="settings-up", show=False, priority=True),
        Binding("ctrl+x", "default", "Back to the default", id="settings-default", priority=True),
    ]
    DEFAULT_CSS = """
    SettingsScreen OptionList { height: 1fr; }
    SettingsScreen .help { height: 3; color: $foreground; margin: 1 0 0 0; }
    SettingsScreen .said { height: 1; color: $quiet; }
    """
    heading = "Settings"
    keys = (("Enter", "change"), ("settings-default", "default"), ("↑ ↓", "move"))

    def __init__(self, fovea: Fovea) -> None:
        super().__init__(classes="-tall")
        self._fovea = fovea
        self._entries = list(entries())
        self._shown: list[Entry] = []

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Input(placeholder="Search settings")
        yield OptionList(markup=False)
        yield Static("", classes="help", markup=False)
        yield Static("", classes="said", markup=False)

    def on_mount(self) -> None:
        """Show all."""
        self.query_one(Input).focus()
        self._say(f"Written to {self._fovea.folders.settings}")
        self.fill()

    def _say(self, text: str, *, problem: bool = False) -> None:
        self.query_one(".said", Static).update(Content.styled(one_line(text), "$error" if problem else "$quiet"))

    # -- the list -----------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self.fill()

    def fill(self) -> None:
        """Draw anew, keeping the cursor."""
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        words = self.query_one(Input).value.lower().split()
        values, defaults = flatten(self._fovea.settings), flatten(Settings())
        self._shown = [e for e in self._entries if all(w in f"{e.key} {e.help}".lower() for w in words)]
        options.clear_options()
        options.add_options([Option(_row(e, values[e.key], values[e.key] != defaults[e.key])) for e in self._shown])
        if self._shown:
            options.highlighted = min(at, len(self._shown) - 1)
            self._explain()

    @on(OptionList.OptionHighlighted)
    def _explain(self) -> None:
        entry = self._here
        if entry is not None:
            default = shown(flatten(Settings())[entry.key])
            fact = f"\ndefault {one_line(default, 70)}. {when(entry.key)}"
            told = Content.assemble(one_line(entry.help), (fact, "$quiet"))
            self.query_one(".help", Static).update(told)

    @property
    def _here(self) -> Entry | None:
        at = self.query_one(OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def action_cursor(self, by: int) -> None:
        """Move the cursor without leaving the search line."""
        options = self.query_one(OptionList)
        if self._shown:
            options.highlighted = min(max(0, (options.highlighted or 0) + by), len(self._shown) - 1)

    # -- changing -----------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _change(self) -> None:
        entry = self._here
        if entry is None:
            return
        if entry.key == "screen.theme":
            entry = Entry(entry.key, entry.help, tuple(sorted(self.app.available_themes)))
        value = flatten(self._fovea.settings)[entry.key]
        if entry.choices == ("true", "false"):
            self._write(entry, not value)
        elif entry.choices:
            self._choose(entry, shown(value))
        else:
            self._type(entry, value)

    def _choose(self, entry: Entry, value: str) -> None:
        from tui.app.screens.choose import Choose

        def chosen(index: int | None) -> None:
            if index is not None:
                self._write(entry, entry.choices[index])

        at = entry.choices.index(value) if value in entry.choices else 0
        self.app.push_screen(Choose(entry.key, entry.choices, at), chosen)

    def _type(self, entry: Entry, value: Any) -> None:
        from tui.app.screens.line import AskLine

        def typed(text: str | None) -> None:
            if text is None:
                return
            try:
                self._write(entry, text if isinstance(value, str) else parse_value(entry.key, text))
            except AgentError as error:
                self._say(str(error), problem=True)

        now = "" if shown(value) == "(empty)" else shown(value)
        self.app.push_screen(AskLine(entry.key, now), typed)

    def action_default(self) -> None:
        """The value fovea comes with."""
        if entry := self._here:
            self._write(entry, flatten(Settings())[entry.key])

    def _write(self, entry: Entry, value: Any) -> None:
        save = getattr(self.app, "save_settings", None)
        problem = save({entry.key: value}) if save else "This window cannot write settings"
        if problem:
            self._say(problem, problem=True)
            return
        self._say(f"{entry.key} is {shown(flatten(self._fovea.settings)[entry.key])} now")
        self.fill()


def _row(entry: Entry, value: Any, changed: bool) -> Content:
    mark = "● " if changed else "  "
    return Content.assemble(
        (mark, "$accent"), (f"{entry.key:<32}", "bold" if changed else ""), (one_line(shown(value), 50), "$primary")
    )
