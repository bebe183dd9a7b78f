"""How many continuations, from which tiers, and whether blind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from tui.app.captions import tier_colour
from tui.app.screens.panel import Panel


@dataclass(frozen=True, slots=True)
class Wanted:
    """The person's answer."""

    n: int
    tiers: tuple[str, ...]
    blind: bool


class AskContinuations(Panel[Wanted]):
    """One key answers: a number, or t for one from each tier."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(str(n), f"several({n})", f"{n} continuations", id=f"several-{n}") for n in range(2, 9)],
        Binding("t", "tiers", "One from each tier", id="several-tiers"),
        Binding("b", "blind", "Blind or open", id="several-blind"),
    ]
    heading = "Continuations"

    def __init__(self, tiers: Sequence[str], *, blind: bool = False) -> None:
        super().__init__()
        self._tiers = tuple(tiers)
        self._blind = blind

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static(self._text(), markup=False)

    def _text(self) -> Content:
        arrow = Content.styled(" · ", "$quiet")
        tiers = arrow.join(Content.styled(tier, tier_colour(tier)) for tier in self._tiers)
        key = "bold $primary"
        state = "tiers are hidden until you pick" if self._blind else "tiers are shown"
        rows = [
            Content.assemble(("2 … 8", key), "  that many from the speaking tier, in one batch"),
            Content.assemble(("t", key), "      one from each tier: ", tiers) if len(self._tiers) > 1 else Content(""),
            Content.assemble(("b", key), f"      {'open' if self._blind else 'blind'} comparison (now {state})"),
            Content(""),
            Content.styled(
                "Blind picks answer the question whether you need the higher tier at all: fovea stats", "$quiet"
            ),
        ]
        return Content("\n").join(row for row in rows)

    def action_several(self, n: int) -> None:
        """That many."""
        self.dismiss(Wanted(n, (), self._blind))

    def action_tiers(self) -> None:
        """One from each."""
        if len(self._tiers) > 1:
            self.dismiss(Wanted(len(self._tiers), self._tiers, self._blind))

    def action_blind(self) -> None:
        """Switch."""
        self._blind = not self._blind
        self.query_one(Static).update(self._text())
