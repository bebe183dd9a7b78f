"""The tour of the first start: six cards, a minute, gone with one key and never shown again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from tui.app.screens.panel import Panel

if TYPE_CHECKING:
    from agent.app import Fovea

CARDS: tuple[tuple[str, str], ...] = (
    (
        "One model, three precisions",
        "fovea runs the same model at 4, 8 and 16 bits. The 4-bit tier speaks because it is fast and small. "
        "Above every reply you see which tier wrote it, how fast, and how much was looked at closer.",
    ),
    (
        "Write",
        "Enter sends, Ctrl+J begins a new line, a paste never sends by itself. / opens the commands, @ puts a file "
        "into the message. While a reply is written you can go on typing: the next message waits. Esc stops at once.",
    ),
    (
        "Look closer",
        "Ctrl+R answers the same turn at the next higher tier, beside the first. With the policy `ask`, fovea proposes "
        "a closer look itself where words were nearly tied. A card says why and what it costs; you decide.",
    ),
    (
        "See where meaning is dense",
        "Tab goes to the messages, j and k move. d tints every token by how likely a higher tier is to write something "
        "else there: ▂ ▅ █. f shows the forks: the places where 16 bits would have gone another way, worst first.",
    ),
    (
        "Choose",
        "n writes several continuations side by side, one key picks. Blind comparisons hide the tiers; after some of "
        "them `fovea stats` tells you whether you need 16 bits at all. All versions stay in the tree (F4).",
    ),
    (
        "Yours",
        "Conversations, notes and decisions are plain files and one SQLite file on this machine; nothing is sent "
        "anywhere. F3 shows what was recalled, F2 the ladder, F5 every decision, F8 the settings, F1 all keys.",
    ),
)


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
