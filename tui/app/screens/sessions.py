"""The conversations: open, search, rename, archive, delete with undo."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.cells import set_cell_size
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from agent.values import SessionInfo
from tui.app.background import sentence
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.words import ago, plural

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.session import Session

SEARCH_DELAY = 0.15
"""Seconds without typing before the search runs."""


class Sessions(Panel[str]):
    """Gives back the id of the conversation to open, ``""`` for a new one, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "fresh", "New", id="sessions-new", priority=True),
        Binding("f2", "rename", "Rename", id="sessions-rename", priority=True),
        Binding("f6", "archive", "Archive", id="sessions-archive", priority=True),
        Binding("ctrl+x,delete", "remove", "Delete", id="sessions-delete", priority=True),
        Binding("ctrl+z", "undo", "Undo", id="sessions-undo", priority=True),
        Binding("ctrl+a", "archived", "Archived", id="sessions-archived", priority=True),
        Binding("down", "move(1)", "Down", id="sessions-down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", id="sessions-up", show=False, priority=True),
        Binding("pagedown", "move(10)", "Page down", id="sessions-page-down", show=False, priority=True),
        Binding("pageup", "move(-10)", "Page up", id="sessions-page-up", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    Sessions OptionList { height: 1fr; }
    Sessions .said { height: 1; color: $quiet; }
    """
    heading = "Conversations"
    keys = (
        ("Enter", "open"),
        ("sessions-new", "new"),
        ("sessions-rename", "rename"),
        ("sessions-archive", "archive"),
        ("sessions-delete", "delete"),
        ("sessions-undo", "undo"),
        ("sessions-archived", "archived"),
    )

    def __init__(self, fovea: Fovea, current: str = "", query: str = "") -> None:
        super().__init__(classes="-tall")
        self._fovea = fovea
        self._current = current
        self._query = query
        self._archived = False
        self._found: list[SessionInfo] = []
        self._gone: list[Session] = []

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Input(self._query, placeholder="Search titles and every word ever said")
        yield OptionList(markup=False)
        yield Static("", classes="said", markup=False)

    def on_mount(self) -> None:
        """Show all."""
        self.query_one(Input).focus()
        self.show()

    # -- the list -----------------------------------------------------------------------------------------------------

    def show(self, said: str = "") -> None:
        """Ask anew and draw."""
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        try:
            self._found = self._fovea.sessions(self.query_one(Input).value.strip(), archived=self._archived)
        except Exception as error:
            self._found, said = [], sentence(error)
        options.clear_options()
        options.add_options([Option(self._row(info)) for info in self._found])
        if self._found:
            options.highlighted = min(at, len(self._found) - 1)
        kind = "archived conversation" if self._archived else "conversation"
        self.query_one(".said", Static).update(said or plural(len(self._found), kind))

    def _row(self, info: SessionInfo) -> Content:
        width = max(20, min(round(self.app.size.width * 0.92), 110) - 35)
        here = "● " if info.id == self._current else "  "
        title = one_line(info.title, width) or "untitled"
        facts = f"{plural(info.messages, 'message'):>15}  {ago(info.updated, time.time()):>10}"
        return Content.assemble((here, "$accent"), set_cell_size(title, width), (facts, "$quiet"))

    @property
    def _here(self) -> SessionInfo | None:
        at = self.query_one(OptionList).highlighted
        return self._found[at] if at is not None and at < len(self._found) else None

    @on(Input.Changed)
    def _typed(self) -> None:
        self.set_timer(SEARCH_DELAY, self.show, name="search")

    @on(Input.Submitted)
    def _entered(self) -> None:
        if self._here:
            self.dismiss(self._here.id)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index].id)

    # -- actions ------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the highlight without leaving the search line."""
        options = self.query_one(OptionList)
        if self._found:
            options.highlighted = min(max(0, (options.highlighted or 0) + by), len(self._found) - 1)

    def action_fresh(self) -> None:
        """A new conversation."""
        self.dismiss("")

    def action_archived(self) -> None:
        """Show the archived ones, or the others."""
        self._archived = not self._archived
        self.show()

    def action_archive(self) -> None:
        """Put away, or take out again."""
        if info := self._here:
            session = self._fovea.session(info.id)
            self._do(session.unarchive if info.archived else session.archive, "Archived; Ctrl+A shows the archive")

    def action_remove(self) -> None:
        """Delete; can be undone."""
        info = self._here
        if info is None:
            return
        session = self._fovea.session(info.id)
        if self._do(session.delete_session, "Deleted; Ctrl+Z brings it back"):
            self._gone.append(session)

    def action_undo(self) -> None:
        """Bring back the conversation deleted last."""
        if self._gone:
            self._do(self._gone.pop().undo, "Brought back")

    def action_rename(self) -> None:
        """Ask for a title."""
        info = self._here
        if info is None:
            return
        from tui.app.screens.line import AskLine

        def named(title: str | None) -> None:
            if title:
                self._do(lambda: self._fovea.session(info.id).rename(title), "Renamed")

        self.app.push_screen(AskLine("Title of the conversation", info.title), named)

    def _do(self, work: Callable[[], object], said: str) -> bool:
        try:
            work()
        except Exception as error:
            self.show(sentence(error))
            return False
        self.show(said)
        return True
