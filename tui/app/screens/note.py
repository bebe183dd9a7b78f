"""Proposing a note: the change is shown as a diff, nothing is written before the person says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from agent.recall import NoteProposal
from tui.app.background import Outcome, in_background
from tui.app.safe import harmless, one_line
from tui.app.screens.panel import Panel

if TYPE_CHECKING:
    from agent.app import Fovea


class ProposeNote(Panel[bool]):
    """Gives back whether the change may be written."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,y", "accept", "Write it", id="note-accept")]
    DEFAULT_CSS = """
    ProposeNote VerticalScroll { height: auto; max-height: 20; }
    ProposeNote VerticalScroll > Static { height: auto; }
    """
    keys = (("Enter", "write it"),)

    def __init__(self, proposal: NoteProposal) -> None:
        super().__init__()
        self.heading = f"Change {one_line(proposal.file, 50)}?"
        self._proposal = proposal

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        with VerticalScroll():
            yield Static(diff_text(self._proposal.diff), markup=False)

    def action_accept(self) -> None:
        """Yes."""
        self.dismiss(True)


def diff_text(diff: str) -> Content:
    """A unified diff with signs and colours."""
    colours = {"+": "$success", "-": "$error", "@": "$quiet"}
    lines = [Content.styled(line, colours.get(line[:1], "")) for line in harmless(diff).splitlines()]
    return Content("\n").join(lines)


def propose(
    screen: Screen[Any],
    fovea: Fovea,
    text: str,
    *,
    tell: Callable[[str], object],
    then: Callable[[], object] = lambda: None,
) -> None:
    """Ask the memory how it would keep ``text``, show that, and write it when the person agrees.

    Args:
        screen: where it was asked for.
        fovea: whose memory it is.
        text: what shall be remembered.
        tell: says one line there.
        then: called after something was written.
    """

    def written(outcome: Outcome[str]) -> None:
        then()
        tell(outcome.problem or f"Written to {outcome.value}")

    def proposed(outcome: Outcome[NoteProposal | None]) -> None:
        proposal = outcome.value
        if proposal is None:
            tell(outcome.problem or "Nothing to write: it is known already, or this memory keeps no notes")
            return

        def decided(agreed: bool | None) -> None:
            if agreed:
                in_background(lambda: fovea.memory.accept_note(proposal), written)

        screen.app.push_screen(ProposeNote(proposal), decided)

    in_background(lambda: fovea.memory.propose_note(text), proposed)
