"""The conversation as widgets: a window on the newest messages, older ones mounted when the person goes there.

Contract: the view stays where the person reads. It follows the bottom only while they are at the bottom, and mounting
older messages above keeps the line under their eyes in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from tui.app.keys import TRANSCRIPT
from tui.app.rows import Row
from tui.app.widgets.group import ReplyGroup
from tui.app.widgets.reply import Reply
from tui.app.widgets.said import Folded, Notice, Said

WINDOW = 12
"""Messages mounted at once when a conversation opens, and with each step back."""
MOST = 120
"""Beyond this many widgets the oldest are unmounted while the person is at the bottom."""


class Earlier(Static):
    """Says how much is above; scrolling to it brings it."""

    DEFAULT_CSS = "Earlier { height: auto; padding: 0 2; color: $quiet; text-align: center; }"


class Transcript(VerticalScroll, can_focus=False):
    """The messages. Single-letter keys act while one of them has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        replace(binding, action=f"screen.{binding.action}") for binding in TRANSCRIPT
    ]
    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    """

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self._rows: Sequence[Row] = ()
        self._from = 0
        """Index of the first mounted row."""
        self._filling = False
        self._following = False

    # -- following the bottom -----------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Stay at the newest line until the person scrolls away; coming back to the bottom follows again."""
        self._following = True
        self.anchor(self.overflows)

    @property
    def follows(self) -> bool:
        """Whether the newest line is to stay in view: the person has not scrolled away since ``follow``."""
        return self._following and not (self._anchored and self._anchor_released)

    def watch_virtual_size(self) -> None:
        """Anchor only when there is something to scroll: Textual would push a short text to the bottom."""
        if self._following and self._anchored != self.overflows:
            self.anchor(self.overflows)
            if not self.overflows:
                self.scroll_to(y=0, animate=False, immediate=True)

    @property
    def overflows(self) -> bool:
        """Whether there is more than fits."""
        return self.virtual_size.height > self.container_size.height

    # -- the window ---------------------------------------------------------------------------------------------------

    async def load(self, rows: Sequence[Row]) -> None:
        """Show a conversation from its end."""
        self._rows = rows
        self._from = max(0, len(rows) - WINDOW)
        with self.app.batch_update():
            await self.remove_children()
            await self.mount_all([*self._earlier(), *(self._widget(row) for row in rows[self._from :])])
        self.follow()

    async def sync(self, rows: Sequence[Row]) -> None:
        """Bring what is mounted in line with the rows, touching only what differs.

        From the first place that is another message, everything below is mounted anew. Lines from fovea and cards
        stay as long as the message above them does.
        """
        self._rows = rows
        if not rows and not self._widgets():
            return  # nothing was said yet; lines from fovea stay
        if self._from > len(rows) or not self._widgets():
            await self.load(rows)
            return
        at = self._from
        for widget in self._widgets():
            if at >= len(rows) or not await self._matches(widget, rows[at]):
                await self._replace_from(widget, rows[at:])
                return
            at += 1
        if at < len(rows):
            await self.mount_all([self._widget(row) for row in rows[at:]])

    def _widgets(self) -> list[Said | Folded | ReplyGroup]:
        return [child for child in self.children if isinstance(child, Said | Folded | ReplyGroup)]

    async def _matches(self, widget: Said | Folded | ReplyGroup, row: Row) -> bool:
        """Whether the widget stands for this row; small differences are put right on the way."""
        if isinstance(widget, Folded):
            return widget.node.id == row.node.id
        if isinstance(widget, Said):
            if row.node.role != "user" or widget.node is None or widget.node.id != row.node.id:
                return False
            widget.versions = (row.current + 1, len(row.nodes))
            widget.commit(row.node)
            return True
        if row.node.role != "assistant" or widget.parent_id != row.node.parent:
            return False
        await widget.settle(row.nodes, row.node.id)
        return True

    async def _replace_from(self, first: Widget, rows: Sequence[Row]) -> None:
        children = list(self.children)
        gone = children[children.index(first) :]
        inside = any(widget.has_focus_within or widget.has_focus for widget in gone)
        with self.app.batch_update():
            for widget in gone:
                await widget.remove()
            await self.mount_all([self._widget(row) for row in rows])
        if inside:
            self.enter()

    def _earlier(self) -> list[Widget]:
        return [Earlier(f"▲ {self._from:,} earlier messages", markup=False)] if self._from else []

    def _widget(self, row: Row) -> Widget:
        node = row.node
        if node.role == "assistant":
            return ReplyGroup(node.parent, row.nodes, row.current)
        if node.role == "summary":
            return Folded(node)
        return Said(node.text, node, (row.current + 1, len(row.nodes)))

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Scrolling up to the top asks for older messages."""
        super().watch_scroll_y(old, new)
        if new < old and new <= 2 and self._from and not self._filling:
            self.call_next(self.more)

    async def more(self) -> None:
        """Mount older messages above, without moving what is on the screen."""
        if self._filling or not self._from:
            return
        self._filling = True
        try:
            first, height = self._from, self.virtual_size.height
            self._from = max(0, first - WINDOW)
            fresh = [*self._earlier(), *(self._widget(row) for row in self._rows[self._from : first])]
            async with self.batch():
                await self.query(Earlier).remove()
                await self.mount_all(fresh, before=0 if self.children else None)
            self.call_after_refresh(self._keep_place, height)
        finally:
            self._filling = False

    def _keep_place(self, height_before: int) -> None:
        grown = self.virtual_size.height - height_before
        if grown > 0:
            self.scroll_relative(y=grown, animate=False, force=True, immediate=True)

    async def forget_oldest(self) -> None:
        """Unmount messages far above while the person is at the bottom (long sittings stay fast)."""
        widgets = [child for child in self.children if isinstance(child, Said | Folded | ReplyGroup | Notice)]
        if len(widgets) <= MOST or not self.at_bottom:
            return
        gone = widgets[: len(widgets) - WINDOW]
        self._from += sum(isinstance(widget, Said | Folded | ReplyGroup) for widget in gone)
        async with self.batch():
            for widget in gone:
                await widget.remove()
            await self.query(Earlier).remove()
            await self.mount_all(self._earlier(), before=0)

    def remember(self, rows: Sequence[Row]) -> None:
        """The rows as they are now; what is mounted is already right."""
        self._rows = rows

    @property
    def at_bottom(self) -> bool:
        """Whether the newest line is in view."""
        return self.scroll_offset.y >= self.max_scroll_y - 1

    @property
    def earlier(self) -> int:
        """How many rows are not mounted."""
        return self._from

    # -- adding -------------------------------------------------------------------------------------------------------

    async def add(self, widget: Widget, after: Widget | None = None) -> None:
        """Append a widget (or put it after another one)."""
        if self.is_mounted:
            await self.mount(widget, after=after)

    async def say(self, text: str, *, problem: bool = False, after: Widget | None = None) -> None:
        """Append one line from fovea."""
        await self.add(Notice(text, problem=problem), after)

    # -- the cursor ---------------------------------------------------------------------------------------------------

    @property
    def stops(self) -> list[Widget]:
        """The messages a cursor can stand on, top to bottom: one for each place of the conversation."""
        found: list[Widget] = []
        for child in self.children:
            if isinstance(child, Said | Folded):
                found.append(child)
            elif isinstance(child, ReplyGroup) and (pane := child.pane) is not None:
                found.append(pane)
        return found

    @property
    def cursor(self) -> Reply | Said | None:
        """The message with the focus, else the last reply."""
        focused = self.screen.focused
        if isinstance(focused, Reply | Said):
            return focused
        return next((stop for stop in reversed(self.stops) if isinstance(stop, Reply)), None)

    def enter(self) -> bool:
        """Put the cursor on the last message; says whether there is one."""
        stops = self.stops
        if stops:
            self._stand_on(stops[-1])
        return bool(stops)

    def step(self, by: int) -> None:
        """Move the cursor by messages; below the last one it stays."""
        stops = self.stops
        if not stops:
            return
        focused = self.screen.focused
        at = stops.index(focused) if focused in stops else len(stops)
        target = at + by
        if target < 0 and self._from:
            self.call_next(self._step_up)
            return
        self._stand_on(stops[min(max(0, target), len(stops) - 1)])

    async def _step_up(self) -> None:
        await self.more()
        self.step(-1)

    async def edge(self, where: int) -> None:
        """Go to the first (-1) or last (1) message."""
        if where < 0 and self._from:
            self._from, first = 0, self._from
            async with self.batch():
                await self.query(Earlier).remove()
                await self.mount_all([self._widget(row) for row in self._rows[:first]], before=0)
        stops = self.stops
        if stops:
            self._stand_on(stops[0] if where < 0 else stops[-1])
        if where > 0:
            self.follow()

    def _stand_on(self, widget: Widget) -> None:
        widget.focus(scroll_visible=False)
        self.release_anchor()
        self.scroll_to_widget(widget, animate=False, top=widget.size.height > self.size.height, force=True)

    def group(self, parent_id: int | None) -> ReplyGroup | None:
        """The mounted group of replies to a message."""
        return next((g for g in self.query(ReplyGroup) if g.parent_id == parent_id), None)

    def reply(self, node_id: int) -> Reply | None:
        """The mounted reply of a node."""
        return next((r for r in self.query(Reply) if r.node is not None and r.node.id == node_id), None)

    @on(Reply.LinkClicked)
    def _link(self, event: Reply.LinkClicked) -> None:
        event.stop()
        self.post_message(self.Copy(event.href))

    class Copy(Message):
        """Something in the transcript should go to the clipboard."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text
