"""One tier of the ladder as a line: what it takes, how fast it is here, and a key that loads or frees it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from agent.values import Speed
from backends.types import TierStatus
from tui.app.captions import tier_colour
from tui.app.safe import one_line
from tui.app.words import size

HEAD = f"  {'tier':<8}{'needs':>8}{'load':>8}{'reads':>13}{'writes':>13}  file"
"""The heading of the columns."""


class TierRow(Static, can_focus=True):
    """Posts ``Switched`` when the person wants the tier in memory, or out of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "switch", "Load or free this tier", id="ladder-switch"),
    ]
    DEFAULT_CSS = """
    TierRow { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TierRow:focus { background: $panel; text-style: bold; }
    """

    class Switched(Message):
        """The person wants ``tier`` to rest (be freed), or to be loaded."""

        def __init__(self, tier: str, resting: bool) -> None:
            super().__init__()
            self.tier = tier
            self.resting = resting

    def __init__(self, tier: TierStatus, need: int, speed: Speed) -> None:
        super().__init__("", markup=False)
        self.tier = tier
        self._need = need
        self._speed = speed
        self._doing = ""

    def on_mount(self) -> None:
        """Draw."""
        self._draw()

    def on_focus(self) -> None:
        """The cursor is a sign too, not colour alone."""
        self._draw()

    def on_blur(self) -> None:
        """Take it away."""
        self._draw()

    def show(self, tier: TierStatus, need: int, speed: Speed) -> None:
        """Show what is known now."""
        self.tier, self._need, self._speed, self._doing = tier, need, speed, ""
        self._draw()

    def _draw(self) -> None:
        name = (f"{one_line(self.tier.name, 7):<8}", f"bold {tier_colour(self.tier.name)}")
        cursor = ("▸ " if self.has_focus else "  ", "$accent")
        self.update(Content.assemble(cursor, name, *self._facts()))

    def _facts(self) -> list[tuple[str, str] | str]:
        tier, need = self.tier, size(self._need or self.tier.bytes)
        file = (f"  {one_line(tier.path.name, 40)}", "$quiet")
        if self._doing:
            return [f"{need:>8}  ", (self._doing, "$accent")]
        if tier.resting:
            return [f"{need:>8}  ", ("unloaded; Space loads it", "$quiet"), file]
        if not tier.loaded:
            return [("not loaded: ", "$error"), (one_line(tier.problem, 200), "$error")]
        read = _speed(self._speed.prefill_tok_s or tier.read_tok_s)
        wrote = _speed(self._speed.decode_tok_s or tier.write_tok_s)
        return [f"{need:>8}{tier.load_s:>6.1f} s{read:>13}{wrote:>13}", file]

    def action_switch(self) -> None:
        """Load or free."""
        if self._doing:
            return
        free = self.tier.loaded
        self._doing = "freeing …" if free else "loading …"
        self._draw()
        self.post_message(self.Switched(self.tier.name, free))

    def on_click(self, event: events.Click) -> None:
        """A click only puts the cursor here: freeing by accident would be a nuisance."""
        self.focus()


def _speed(tok_s: float) -> str:
    return f"{tok_s:,.0f} tok/s" if tok_s else "unmeasured"
