"""The tree of the conversation: all branches, who or what wrote each node, bookmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agent.values import Node, Status
from tui.app.background import sentence
from tui.app.branches import Branch, lines
from tui.app.captions import tier_colour
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.words import plural

if TYPE_CHECKING:
    from agent.session import Session

DEEPEST = 40
"""Cells of guides before they are cut: text must stay readable in a deep tree."""


def author(node: Node) -> str:
    """Who wrote a node, in a word."""
    return {"person": "you", "edited": "edited", "imported": "imported"}.get(node.author, node.tier or node.author)


class TreeScreen(Panel[int]):
    """Gives back the id of the node to go to, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor(1)", "Down", id="tree-down", show=False),
        Binding("k", "cursor(-1)", "Up", id="tree-up", show=False),
        Binding("b", "bookmark", "Bookmark", id="tree-bookmark"),
        Binding("n", "next_bookmark", "Next bookmark", id="tree-next-bookmark"),
        Binding("x,delete", "delete", "Delete", id="tree-delete"),
        Binding("u", "undo", "Undo", id="tree-undo"),
        Binding("t,q", "close", "Close", id="tree-close"),
    ]
    DEFAULT_CSS = """
    TreeScreen OptionList { height: 1fr; }
    TreeScreen .said { height: 1; color: $quiet; }
    """
    heading = "The tree of this conversation"
    keys = (
        ("Enter", "go there"),
        ("tree-bookmark", "bookmark"),
        ("tree-next-bookmark", "next one"),
        ("tree-delete", "delete"),
        ("tree-undo", "undo"),
    )

    def __init__(self, session: Session) -> None:
        super().__init__(classes="-tall")
        self._session = session
        self._deleted: list[int] = []
        self._branches: list[Branch] = []

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield OptionList(markup=False)
        yield Static("", classes="said", markup=False)

    def on_mount(self) -> None:
        """Draw all branches."""
        self.query_one(OptionList).focus()
        self.fill()

    def fill(self, said: str = "", at: int | None = None) -> None:
        """Draw anew.

        Args:
            said: one line below the tree.
            at: id of the node for the cursor; the head when ``None``.
        """
        options = self.query_one(OptionList)
        self._branches = lines(self._session.nodes())
        here = {node.id for node in self._session.path(steps=False)}
        options.clear_options()
        options.add_options([Option(self._label(branch, here)) for branch in self._branches])
        wanted = at if at is not None else self._session.head
        ids = [branch.node.id for branch in self._branches]
        if ids:
            options.highlighted = ids.index(wanted) if wanted in ids else len(ids) - 1
        ends = len(set(ids) - {branch.node.parent for branch in self._branches})
        forked = f", {plural(ends, 'branch', 'branches')}" if ends > 1 else ""
        told = plural(len(ids), "message") + forked
        self.query_one(".said", Static).update(said or told)

    def _label(self, branch: Branch, here: set[int]) -> Content:
        node, who = branch.node, author(branch.node)
        colour = "$primary" if who == "you" else tier_colour(node.tier)
        state = "" if node.status is Status.DONE else " (unfinished)"
        star = f"★ {one_line(node.bookmark, 24)}  " if node.bookmark else ""
        width = 200
        return Content.assemble(
            ("● " if node.id in here else "  ", "$accent"),
            (branch.guide[-DEEPEST:], "$quiet"),
            (f"{one_line(who, 8):<8} ", colour),
            (star, "$accent"),  # before the text, which may be longer than the line
            (one_line(node.text, width) or "(nothing)", "" if node.id in here else "$quiet"),
            (state, "$quiet"),
        )

    # -- actions ------------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Node | None:
        at = self.query_one(OptionList).highlighted
        return self._branches[at].node if at is not None and at < len(self._branches) else None

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._branches[event.option_index].node.id)

    def action_bookmark(self) -> None:
        """Name the node under the cursor."""
        node = self._here
        if node is None:
            return
        from tui.app.screens.line import AskLine

        def named(label: str | None) -> None:
            if label is not None:
                self._do(lambda: self._session.bookmark(node.id, label), "Bookmarked" if label else "Removed", node.id)

        self.app.push_screen(AskLine("Name this place (empty removes the bookmark)", node.bookmark), named)

    def action_next_bookmark(self) -> None:
        """Go to the next bookmark, around the end."""
        options = self.query_one(OptionList)
        marked = [index for index, branch in enumerate(self._branches) if branch.node.bookmark]
        if marked:
            after = [index for index in marked if index > (options.highlighted or 0)]
            options.highlighted = (after or marked)[0]

    def action_delete(self) -> None:
        """Delete the node and what follows it."""
        if node := self._here:
            self._deleted.append(node.id)
            self._do(lambda: self._session.delete(node.id), "Deleted; u brings it back", node.parent)

    def action_undo(self) -> None:
        """Bring back what was deleted last here."""
        if self._deleted:
            node_id = self._deleted.pop()
            self._do(lambda: self._session.undo_delete(node_id), "Brought back", node_id)

    def _do(self, work: Callable[[], object], said: str, at: int | None) -> None:
        try:
            work()
        except Exception as error:
            self.fill(sentence(error))
            return
        self.fill(said, at)
