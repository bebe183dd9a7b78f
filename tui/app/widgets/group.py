"""The replies to one message: one at a time, or side by side (columns when wide, tabs when narrow), open or blind."""

from __future__ import annotations

import random
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus, Resize
from textual.widgets import Static

from agent.values import Node
from tui.app.captions import tier_colour
from tui.app.widgets.reply import Reply

COLUMN = 36
"""Cells a column needs; with less, the replies become tabs."""
LETTERS = "ABCDEFGHIJKLMNOP"


class ReplyGroup(Vertical):
    """Sibling replies. ``parent_id`` is the message they answer."""

    DEFAULT_CSS = """
    ReplyGroup { height: auto; margin: 0 0 1 0; }
    ReplyGroup > .strip { height: auto; padding: 0 2; display: none; color: $quiet; }
    ReplyGroup > .row { height: auto; }
    ReplyGroup .row > Reply { width: 1fr; }
    ReplyGroup.-beside > .strip { display: block; }
    ReplyGroup.-beside.-columns .row > Reply { border-left: outer $panel; padding: 0 1; }
    ReplyGroup.-beside.-columns .caption { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ReplyGroup.-beside.-columns .row > Reply:focus { border-left: outer $accent; }
    """

    def __init__(self, parent_id: int | None, nodes: Sequence[Node] = (), current: int = 0) -> None:
        super().__init__()
        self.parent_id = parent_id
        self.nodes: list[Node] = list(nodes)
        self.hidden: set[int] = set()
        """Ids of versions left out of the comparison: asking for three more is about those three."""
        self.current = current
        """Index (in ``versions``) of the version in the conversation, or under the person's eye in a comparison."""
        self.beside = False
        self.blind = False

    # -- what is shown ------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static("", classes="strip", markup=False)
        with Horizontal(classes="row"):
            if self.nodes:
                yield self._pane(self.nodes[self.current])

    def on_mount(self) -> None:
        """Number the versions."""
        self.lay_out()

    @property
    def versions(self) -> list[Node]:
        """The versions that can be turned to: all, or those compared."""
        return [node for node in self.nodes if not self.beside or node.id not in self.hidden]

    @property
    def panes(self) -> list[Reply]:
        """The panes, left to right."""
        return [pane for pane in self.query(Reply) if not pane._pruning]

    @property
    def pane(self) -> Reply | None:
        """The pane of the current version."""
        panes = self.panes
        if not panes:
            return None
        return panes[min(self.current, len(panes) - 1)] if self.beside else panes[0]

    def _pane(self, node: Node | None, tier: str = "") -> Reply:
        return Reply(node, tier=tier)

    def lay_out(self) -> None:
        """Columns, tabs or a single reply, and everyone's caption."""
        panes = self.panes
        columns = self.beside and len(panes) * COLUMN <= max(1, self.size.width)
        self.set_class(self.beside, "-beside")
        self.set_class(columns, "-columns")
        for index, pane in enumerate(panes):
            pane.display = not self.beside or columns or index == self.current
            pane.letter = LETTERS[index] if self.beside else ""
            pane.blind = self.blind and self.beside
            number = index if self.beside else self.current
            pane.version = (number + 1, len(self.nodes)) if not self.beside else (1, 1)
            pane.refresh_caption()
        if self.beside:
            self.query_one(".strip", Static).update(self._strip(panes, columns))

    def _strip(self, panes: list[Reply], columns: bool) -> Content:
        # The keys act on messages only: whoever is still in the prompt is told how to get there.
        hint = "" if self.has_focus_within else "Tab, then "
        hint += f"1-{len(panes)} picks · M merges · + one more · v back to one"
        if columns:
            kind = "Blind until you pick" if self.blind else "Side by side"
            return Content(f"{kind} · {hint}")
        tabs: list[tuple[str, str] | str] = []
        for index, pane in enumerate(panes):
            style = "bold reverse" if index == self.current else tier_colour("" if self.blind else pane.tier)
            tier = "" if self.blind else f" {pane.tier}"
            tabs += [(f" {LETTERS[index]}{tier} ", style), " "]
        return Content.assemble(*tabs, f"\nh l turns · {hint}")

    def on_resize(self, event: Resize) -> None:
        """A wider terminal turns tabs into columns, a narrower one back."""
        self.lay_out()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """The focused column is the current one."""
        if self.beside and event.widget in self.panes:
            self.current = self.panes.index(event.widget)
        self._hint()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """The hint says again how to get here."""
        self.call_after_refresh(self._hint)

    def _hint(self) -> None:
        if self.beside and self.is_attached:
            self.query_one(".strip", Static).update(self._strip(self.panes, self.has_class("-columns")))

    # -- changes ------------------------------------------------------------------------------------------------------

    async def show_beside(self, beside: bool, *, blind: bool = False) -> None:
        """Switch between one version and all of them."""
        if blind and not self.blind and len(self.nodes) > 1:
            random.shuffle(self.nodes)
        here = self.versions[self.current].id if self.current < len(self.versions) else None
        self.beside, self.blind, self.hidden = beside, blind, set()
        self._stand_on(here)
        await self.rebuild()

    async def rebuild(self) -> None:
        """Make the panes anew from ``nodes``."""
        row = self.query_one(".row", Horizontal)
        found = self.versions
        self.current = min(max(0, self.current), max(0, len(found) - 1))
        wanted = found if self.beside else found[self.current : self.current + 1]
        if [pane.node for pane in self.panes] != wanted:
            focused = self.has_focus_within
            with self.app.batch_update():
                await row.remove_children()
                await row.mount_all([self._pane(node) for node in wanted])
            if focused and (pane := self.pane):
                pane.focus()
        self.lay_out()

    async def turn(self, step: int) -> Node | None:
        """Go to the next (1) or previous (-1) version.

        Returns:
            The version now shown, or ``None`` at either end.
        """
        target, found = self.current + step, self.versions
        if not 0 <= target < len(found):
            return None
        self.current = target
        if self.beside:
            self.lay_out()
            if pane := self.pane:
                pane.focus()
        elif pane := self.pane:
            await pane.show(found[target])
            self.lay_out()
        return found[target]

    async def begin(self, tiers: Sequence[str], *, beside: bool, blind: bool = False) -> list[Reply]:
        """Make room for replies about to be written, one for each of ``tiers``.

        Args:
            tiers: name of the tier of each; empty when not known yet.
            beside: keep what is there and show the new ones next to it; else the new one takes the place.
            blind: hide the tiers.

        Returns:
            The panes that will be written to, in order.
        """
        row = self.query_one(".row", Horizontal)
        focused = self.has_focus_within
        if beside and not self.beside:
            shown = self.versions[self.current].id if self.current < len(self.versions) and not blind else None
            self.hidden = {node.id for node in self.nodes} - {shown}
        self.beside, self.blind = beside, blind
        if beside:
            await self.rebuild()
        else:
            await row.remove_children()
        fresh = [self._pane(None, tier) for tier in tiers]
        await row.mount_all(fresh)
        self.current = len(self.panes) - len(fresh) if beside else 0
        self.lay_out()
        if focused and fresh:
            fresh[0].focus()
        return fresh

    async def settle(self, nodes: Sequence[Node], current: int | None, *, beside: bool | None = None) -> None:
        """Take the committed versions over from the tree.

        Args:
            nodes: all versions, oldest first.
            current: id of the one that is part of the conversation.
            beside: change the way of showing; ``None`` leaves it.
        """
        if self.blind and self.beside:  # keep the shuffled order; new ones go to the end
            known = {node.id: node for node in nodes}
            kept = [known.pop(node.id) for node in self.nodes if node.id in known]
            nodes = [*kept, *known.values()]
        self.nodes = list(nodes)
        if beside is not None:
            self.beside = beside and len(self.nodes) > 1
        self._stand_on(current)
        if not self.beside:
            self.blind = False
        panes = self.panes
        if not self.beside and len(panes) == 1 and self.nodes:
            await panes[0].show(self.versions[self.current])
            self.lay_out()
        else:
            await self.rebuild()

    def _stand_on(self, node_id: int | None) -> None:
        ids = [node.id for node in self.versions]
        self.current = ids.index(node_id) if node_id in ids else max(0, len(ids) - 1)
