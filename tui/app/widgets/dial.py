"""A row of choices turned with left and right; what the choice means stands below it in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

MANY = 7
"""More choices than this are drawn as a slider instead of being spelled out."""


class Dial(Static, can_focus=True):
    """A choice among a few values in order. Posts ``Turned``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,plus", "turn(1)", "More", id="dial-more"),
        Binding("left,h,minus", "turn(-1)", "Less", id="dial-less"),
    ]
    DEFAULT_CSS = """
    Dial { height: auto; padding: 0 1; margin: 0 0 1 0; border-left: outer $panel; }
    Dial:focus { border-left: outer $accent; background: $panel; }
    """

    class Turned(Message):
        """Another value was chosen."""

        def __init__(self, dial: Dial, value: str) -> None:
            super().__init__()
            self.dial = dial
            self.value = value

    def __init__(self, label: str, choices: Sequence[tuple[str, str]], at: int, *, id: str) -> None:
        """Make a dial.

        Args:
            label: what is chosen.
            choices: value and meaning of each, in order.
            at: index of the present one.
            id: widget id.
        """
        super().__init__("", id=id, markup=False)
        self._label = label
        self._choices = choices
        self.at = max(0, at)

    def on_mount(self) -> None:
        """Draw."""
        self._draw()

    def _draw(self) -> None:
        value, meaning = self._choices[self.at]
        head: list[tuple[str, str] | str] = [(f"{self._label:<10}", "bold")]
        if len(self._choices) > MANY:
            rest = len(self._choices) - 1 - self.at
            head += [
                ("━" * self.at * 2, "$tier-high"),
                ("●", "bold $tier-high"),
                ("─" * rest * 2, "$quiet"),
                f"  {value}",
            ]
        else:
            for index, (name, _) in enumerate(self._choices):
                head += [(f" {name} ", "reverse bold" if index == self.at else "$quiet"), " "]
        self.update(Content.assemble(*head, (f"\n{'':<10}{meaning}", "$quiet")))

    def action_turn(self, by: int) -> None:
        """More or less."""
        at = min(max(0, self.at + by), len(self._choices) - 1)
        if at != self.at:
            self.at = at
            self._draw()
            self.post_message(self.Turned(self, self._choices[at][0]))

    def on_click(self, event: events.Click) -> None:
        """A click turns on, around the end."""
        self.focus()
        self.at = -1 if self.at == len(self._choices) - 1 else self.at
        self.action_turn(1)
