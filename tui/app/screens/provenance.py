"""The provenance log: every decision, approval, refusal and pick of the conversation, as text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent.errors import AgentError
from agent.paths import write_atomically
from agent.values import Decision
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.words import percent, plural

if TYPE_CHECKING:
    from agent.session import Session

_COLOURS = {
    "approved": "$success",
    "refused": "$error",
    "pick": "$primary",
    "auto": "$tier-high",
    "lost-tier": "$error",
}
LEFT = 21
"""Cells of the time and the kind, left of what is told."""


def as_text(decisions: list[Decision]) -> str:
    """The log as plain lines, for a file or a screen reader."""
    return "\n".join(f"{_when(d)}  {d.kind:<10} {one_line(d.text)}{_costs(d)}" for d in decisions)


def _when(decision: Decision) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision.at))


def _costs(decision: Decision) -> str:
    costs = []
    if decision.predicted_s is not None:
        costs.append(f"predicted {decision.predicted_s:.1f} s")
    if decision.actual_s is not None:
        costs.append(f"took {decision.actual_s:.1f} s")
    return f" ({', '.join(costs)})" if costs else ""


class Provenance(Panel[None]):
    """Newest last; ``w`` writes it to a file."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "write", "Write to a file", id="log-write"),
        Binding("p,q", "close", "Close", id="log-close"),
    ]
    DEFAULT_CSS = """
    Provenance VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    Provenance Static { height: auto; }
    """
    heading = "Provenance log"
    keys = (("↑ ↓", "scroll"), ("log-write", "write to a file"))

    def __init__(self, session: Session) -> None:
        super().__init__(classes="-tall")
        self._session = session
        self._decisions = session.decisions()

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static(self._summary(), markup=False)
        with VerticalScroll():
            yield Static("", markup=False)

    def on_mount(self) -> None:
        """Begin at the newest."""
        self.query_one(VerticalScroll).focus()
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def _summary(self) -> Content:
        spending = self._session.spending()
        told = f"{spending.high:,} of {plural(spending.all, 'token')} were looked at closer"
        budget = f"{percent(spending.share)}; the budget is {percent(spending.budget)}"
        return Content.styled(f"{told} ({budget})\n", "$quiet")

    def on_resize(self) -> None:
        """Fit into the new width."""
        self.query_one(VerticalScroll).query_one(Static).update(self._lines())

    def _lines(self) -> Content:
        if not self._decisions:
            return Content.styled("Nothing was decided yet: every token is the speaking tier's own.", "$quiet")
        # Before the first layout the width is not known; ``on_resize`` comes with it.
        width = max(self.query_one(VerticalScroll).scrollable_content_region.width, LEFT + 20)
        rows: list[Content] = []
        for decision in self._decisions:
            kind = (f"{decision.kind:<10} ", f"bold {_COLOURS.get(decision.kind, '$secondary')}")
            left = Content.assemble((f"{_when(decision)[11:]}  ", "$quiet"), kind)
            told = Content.assemble(one_line(decision.text), (_costs(decision), "$quiet"))
            first, *others = told.wrap(width - LEFT)
            rows += [Content.assemble(left, first), *(Content.assemble(" " * LEFT, line) for line in others)]
        return Content("\n").join(rows)

    def action_write(self) -> None:
        """Write the log into the current folder."""
        path = Path.cwd() / f"fovea-log-{self._session.id[:8]}.txt"
        try:
            write_atomically(path, as_text(self._decisions) + "\n")
        except AgentError as error:
            self.say(str(error), problem=True)
            return
        self.say(f"Written to {path}")
