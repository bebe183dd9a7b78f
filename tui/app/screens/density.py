"""Density view: every token tinted and marked, a cursor, and beside it what could have been written instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent.values import Node
from backends.types import Alternative, ForkMap, Step, Why
from tui.app import marks
from tui.app.background import Outcome, in_background
from tui.app.captions import tier_label
from tui.app.safe import token_name
from tui.app.screens.panel import Panel
from tui.app.widgets.token_text import TokenText
from tui.app.words import percent, plural

WIDE = 100
"""From this many columns on, the explanation stands beside the text."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person wants done with the reply."""

    kind: str
    """``closer`` (look closer from this token on) or ``instead`` (go on from another token)."""
    at: int
    text: str = ""
    """For ``instead``: the reply up to and with the other token."""


class Density(Panel[Wish]):
    """Gives back a wish, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "ask", "Ask the high tier about every token", id="density-ask"),
        Binding("c", "closer", "Look closer from here", id="density-closer"),
        Binding("pagedown", "scroll_told(1)", "Explanation down", id="density-told-down", show=False),
        Binding("pageup", "scroll_told(-1)", "Explanation up", id="density-told-up", show=False),
        Binding("d,q", "close", "Close", id="density-close"),
        *[Binding(str(n), f"instead({n})", f"Go on with alternative {n}", id=f"density-{n}") for n in range(1, 10)],
    ]
    DEFAULT_CSS = """
    Density .split { height: 1fr; }
    Density .text { width: 1fr; height: 1fr; }
    Density .told { width: 44; height: 1fr; padding: 0 0 0 2; scrollbar-size-vertical: 1; }
    Density .told > Static { height: auto; }
    Density.-narrow .split { layout: vertical; }
    Density.-narrow .told { width: 1fr; padding: 0; border-top: solid $panel; }
    """
    heading = "Where meaning is dense"
    keys = (
        ("← →", "token"),
        ("n N", "dense"),
        ("1-9", "write that"),
        ("density-ask", "ask the high tier"),
        ("density-closer", "closer from here"),
    )

    def __init__(
        self,
        node: Node,
        *,
        high: str = "the high tier",
        at: int | None = None,
        read: Callable[[], ForkMap] | None = None,
    ) -> None:
        """Make the view.

        Args:
            node: the reply, with its steps.
            high: the tier that would look closer.
            at: the token the cursor begins at; the first dense one when ``None``.
            read: reads the reply at the high tier (slow); ``None`` where that is impossible.
        """
        super().__init__(classes="-wide")
        self._node = node
        self._reader = read
        self._judged: ForkMap | None = None
        self._said = ""
        asked = [step.tier for step in node.steps if step.why is not Why.SPOKE]
        self._high = asked[0] if asked else high
        dense = [index for index, step in enumerate(node.steps) if marks.level(step.density)]
        self._at = at if at is not None else dense[0] if dense else 0

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        with Horizontal(classes="split"):
            with Vertical(classes="text"):
                yield TokenText(self._node.steps, at=self._at)
            with VerticalScroll(classes="told", can_focus=False):
                yield Static("", classes="token", markup=False)
                yield Static(self._legend(), classes="legend", markup=False)

    def on_mount(self) -> None:
        """The text gets the keys."""
        self.query_one(TokenText).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Beside when wide, below when narrow; a short text leaves its room to the explanation."""
        narrow = event.size.width < WIDE
        self.set_class(narrow, "-narrow")
        rows = self.query_one(TokenText).rows(round(event.size.width * 0.98) - 6)
        self.query_one(".text", Vertical).styles.height = (
            min(rows, max(2, event.size.height * 2 // 5)) if narrow else "1fr"
        )

    def _legend(self) -> Content:
        steps = self._node.steps
        dense = sum(marks.level(step.density) > 0 for step in steps)
        lines = [
            Content(""),
            Content.styled(f"{plural(dense, 'token')} of {len(steps)} are dense", "bold"),
        ]
        lines += [
            Content.assemble((f"{sign} ", "$tier-high"), (words, "$quiet")) for sign, words in marks.legend(self._high)
        ]
        return Content("\n").join(lines)

    @on(TokenText.Moved)
    def _moved(self, event: TokenText.Moved) -> None:
        self._at = event.at
        self._explain()

    def _explain(self) -> None:
        if not self._node.steps:
            return
        step = self._node.steps[self._at]
        lines = [
            Content.assemble(
                (token_name(step.text), "bold reverse"), "  ", tier_label(step.tier), f" {percent(step.p)}"
            ),
            *self._alternatives(step),
            *([Content.styled(self._said, "$quiet")] if self._said else []),
            Content(""),
            *[Content(line) for line in marks.explain(step)],
        ]
        self.query_one(".token", Static).update(Content("\n").join(lines))

    def _by_tier(self, step: Step) -> dict[str, list[Alternative]]:
        """The alternatives of a token by tier; those of the high tier, once it was asked, after the others."""
        found = marks.alternatives(step)
        if self._judged is not None and self._judged.tier not in found and self._at < len(self._judged.judgements):
            found[self._judged.tier] = marks.judged(self._judged.tier, self._judged.judgements[self._at])
        return found

    def _alternatives(self, step: Step) -> list[Content]:
        lines: list[Content] = []
        choices = self._choices(step)
        for tier, found in self._by_tier(step).items():
            lines.append(Content.assemble(tier_label(tier), (" would write", "$quiet")))
            lines += [self._alternative(step, other, choices) for other in found]
        return lines

    def _alternative(self, step: Step, other: Alternative, choices: list[Alternative]) -> Content:
        bar = "━" * max(1, round(other.p * 10))
        number = f"{choices.index(other) + 1} " if other in choices else "  "
        written = " ← written" if other.token == step.token else ""
        name = token_name(other.text)
        return Content.assemble(
            (number, "bold $primary"), f"{name:<12}", (f"{percent(other.p):>6} ", "$quiet"), (bar, "$primary"), written
        )

    def _choices(self, step: Step) -> list[Alternative]:
        """The alternatives that can be written instead, each token once."""
        found: dict[int, Alternative] = {}
        for other in (a for tier in self._by_tier(step).values() for a in tier):
            if other.token != step.token and other.text:
                found.setdefault(other.token, other)
        return list(found.values())[:9]

    # -- what can be done ---------------------------------------------------------------------------------------------

    def action_ask(self) -> None:
        """Let the high tier read the whole reply: its probabilities stand beside those of the speaking tier."""
        if self._judged is not None or self._said:
            return
        if self._reader is None:
            self._said = f"{self._high} wrote this itself, or is busy writing."
        else:
            self._said = f"{self._high} is reading the reply …"
            in_background(self._reader, self._asked)
        self._explain()

    def _asked(self, outcome: Outcome[ForkMap]) -> None:
        if self.is_attached:
            self._judged, self._said = outcome.value, outcome.problem
            self._explain()

    def action_scroll_told(self, by: int) -> None:
        """Move the explanation by a page; the arrows belong to the cursor."""
        told = self.query_one(".told", VerticalScroll)
        (told.scroll_page_down if by > 0 else told.scroll_page_up)(animate=False)

    def action_closer(self) -> None:
        """Keep what stands before the cursor, write the rest closer."""
        self.dismiss(Wish("closer", self._at))

    def action_instead(self, number: int) -> None:
        """Go on from another token."""
        choices = self._choices(self._node.steps[self._at])
        if number <= len(choices):
            before = "".join(step.text for step in self._node.steps[: self._at])
            self.dismiss(Wish("instead", self._at, before + choices[number - 1].text))
