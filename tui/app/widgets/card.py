"""The escalation card: a proposed closer look, at its place in the conversation.

Keys pressed before the card has been on the screen for half a second do not answer it; what is typed in that time goes
to the prompt, where the person thought they were. So does a character that is no key here, and with it what is typed
after it: who types one writes a message. Unanswered, the reply stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from agent.values import Ask, Scope
from tui.app.captions import tier_colour
from tui.app.keys import CARD, display
from tui.app.safe import one_line
from tui.app.words import percent, seconds, share, size

Choice = Literal["look", "stay", "both", "continuations", "always", "refuse"]
GRACE = 0.5
"""Seconds in which keys do not answer."""


class Card(Vertical, can_focus=True):
    """One ask. Posts ``Answered``; the screen does the rest."""

    BINDINGS: ClassVar[list[BindingType]] = list(CARD)
    DEFAULT_CSS = """
    Card { height: auto; margin: 0 1 1 1; padding: 0 1; border: round $tier-high; border-title-color: $tier-high;
           background: $surface; }
    Card:focus, Card:focus-within { border: heavy $tier-high; }
    Card > Static { height: auto; }
    Card > .facts { text-wrap: nowrap; text-overflow: ellipsis; }
    Card > .keys { margin: 1 0 0 0; }
    Card > Input, Card > Input:focus { border: none; height: 1; padding: 0; background: $panel; display: none; }
    Card.-refusing > Input, Card.-refusing > Input:focus { display: block; }
    Card.-refusing > .keys { display: none; }
    """

    class Answered(Message):
        """The person decided."""

        def __init__(self, card: Card, choice: Choice, reason: str = "", n: int = 3) -> None:
            super().__init__()
            self.card = card
            self.choice = choice
            self.reason = reason
            self.n = n

    class TypedAhead(Message):
        """Something was typed that is no answer; it belongs to the prompt."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person wants to decide later."""

    def __init__(self, ask: Ask, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.ask = ask
        self._where = where
        self._clock = clock
        self._since: float | None = None
        self._writing = False
        """A message is being typed; the keyboard's focus is on its way to the prompt."""
        self.border_title = f"Look closer at {one_line(ask.tier, 20)}?"

    def compose(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static(self._facts(), classes="facts", markup=False)
        yield Static(self._keys(), classes="keys", markup=False)
        yield Input(placeholder="Why not? Enter refuses, Esc goes back")

    def on_mount(self) -> None:
        """Start counting when the card has really been drawn."""
        self.call_after_refresh(self._seen)

    def _seen(self) -> None:
        self._since = self._clock()
        self.set_timer(GRACE, self._open)

    def _open(self) -> None:
        self.add_class("-open")
        self.query_one(".keys", Static).update(self._keys())

    @property
    def answerable(self) -> bool:
        """Whether the card has been visible long enough."""
        return self._since is not None and self._clock() - self._since >= GRACE

    def _facts(self) -> Content:
        ask, quiet = self.ask, "$quiet"
        scope = "the whole reply" if ask.scope is Scope.TURN else f"tokens {ask.start + 1} to {ask.end}"
        memory = f"{size(ask.memory)} more memory" if ask.memory else "already in memory"
        filled = min(10, round(10 * ask.spent / ask.budget)) if ask.budget else 10
        bar = "━" * filled + "─" * (10 - filled)
        rows = [
            ("why    ", one_line(ask.why, 300)),
            ("where  ", f"{scope}: {one_line(self._where, 200)}"),
            ("cost   ", f"{seconds(ask.seconds)}, {memory}"),
            ("spent  ", f"{bar} {percent(ask.spent)} of {percent(ask.budget)}, {share(ask.budget)}"),
        ]
        lines = [Content.assemble((label, quiet), text) for label, text in rows]
        return Content("\n").join(lines)

    def _keys(self) -> Content:
        keymap: dict[str, str] = getattr(self.app, "key_changes", {})
        shown = [(display(b, keymap), b.description) for b in CARD if b.show]
        style = f"bold {tier_colour(self.ask.tier)}" if self.has_class("-open") else "$quiet"
        parts: list[Any] = []
        for key, words in shown:
            parts += [(key, style), f" {words}  "]
        return Content.assemble(*parts)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def action_answer(self, choice: Choice, n: int = 3) -> None:
        """One of the choices without a text."""
        if self.answerable:
            self.post_message(self.Answered(self, choice, n=n))

    def action_refuse(self) -> None:
        """Ask why."""
        if self.answerable:
            self.add_class("-refusing")
            self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Back from the reason, or decide later."""
        if self.has_class("-refusing"):
            self.remove_class("-refusing")
            self.focus()
        else:
            self.post_message(self.Left())

    def on_key(self, event: events.Key) -> None:
        """Before the grace period is over, keys never reach the bindings; later, only those that are bound."""
        if self.has_class("-refusing"):
            return
        written = event.character if event.is_printable else None
        bound = self.screen.active_bindings.get(event.key)
        early = not self.answerable and event.key not in ("tab", "shift+tab")
        if early or (written and (self._writing or bound is None or bound.node is not self)):
            event.stop()
            event.prevent_default()
            if written:
                self._writing = True
                self.post_message(self.TypedAhead(written))

    def on_focus(self) -> None:
        """Keys are answers (again)."""
        self._writing = False

    @on(Input.Submitted)
    def _refused(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Answered(self, "refuse", reason=event.value.strip()))
