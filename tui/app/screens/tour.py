"""The tour of the first start: six cards, a minute, gone with one key and never shown again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from tui.app.screens.panel import Panel
from tui.tour import CARDS

if TYPE_CHECKING:
    from agent.app import Fovea


class Tour(Panel[None]):
    """Cards with Enter to go on and Esc to skip."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,right,l", "turn(1)", "Next", id="tour-next"),
        Binding("left,h,backspace", "turn(-1)", "Back", id="tour-back"),
    ]
    DEFAULT_CSS = """
    Tour > .box { max-width: 74; }
    Tour .card { height: auto; padding: 1 1 0 1; }
    """
    heading = "Welcome to fovea"

    def __init__(self, fovea: Fovea) -> None:
        super().__init__()
        self._fovea = fovea
        self.at = 0

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static(self._card(), classes="card", markup=False)

    def _card(self) -> Content:
        heading, text = CARDS[self.at]
        dots = " ".join("●" if index == self.at else "·" for index in range(len(CARDS)))
        return Content.assemble(
            (heading, "bold $accent"),
            f"\n\n{text}\n\n",
            (f"{dots}     ", "$accent"),
            ("Enter", "bold $primary"),
            " next   " if self.at < len(CARDS) - 1 else " begin   ",
            ("Esc", "bold $primary"),
            " skip" if self.at < len(CARDS) - 1 else " close",
        )

    def action_turn(self, by: int) -> None:
        """Next or previous card; after the last one it is over."""
        if self.at + by >= len(CARDS):
            self.action_close()
            return
        self.at = max(0, self.at + by)
        self.query_one(".card", Static).update(self._card())

    def action_close(self) -> None:
        """Seen or skipped: not shown again by itself."""
        save = getattr(self.app, "save_settings", None)
        if save is not None and self._fovea.settings.screen.tour:
            save({"screen.tour": False})
        self.dismiss(None)
