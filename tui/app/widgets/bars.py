"""The lines around the conversation: title above; meter, spending and keys below."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.widgets import Static

from tui.app.captions import tier_colour
from tui.app.safe import one_line
from tui.app.words import percent, tokens


class TitleBar(Static):
    """Title of the conversation on the left, ladder and policy on the right."""

    DEFAULT_CSS = """
    TitleBar { height: 1; padding: 0 2; background: $surface; color: $foreground; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False, id="title")
        self.title = "new conversation"
        self.model = ""
        self.tiers: list[str] = []
        self.policy = ""
        self.warning = ""

    def tell(self, **facts: object) -> None:
        """Change some of the facts and draw."""
        for name, value in facts.items():
            setattr(self, name, value)
        self._draw()

    def on_resize(self) -> None:
        """Fit into the new width."""
        self._draw()

    def _draw(self) -> None:
        width = max(10, self.size.width)
        right: list[Content] = []
        if self.warning:
            right.append(Content.styled(self.warning, "bold $warning"))
        if self.model and width > 60:
            right.append(Content.styled(one_line(self.model, 24), "$quiet"))
        if self.tiers:
            arrows = Content.styled(" → ", "$quiet")
            right.append(arrows.join(Content.styled(one_line(t, 12), tier_colour(t)) for t in self.tiers))
        if self.policy:
            right.append(Content.styled(self.policy, "$quiet"))
        tail = Content.styled(" · ", "$quiet").join(right)
        room = max(6, width - tail.cell_length - 11)
        head = Content.assemble(("fovea ", "bold $accent"), ("● ", "$accent"), one_line(self.title, room))
        gap = max(1, width - head.cell_length - tail.cell_length)
        self.update(Content.assemble(head, " " * gap, tail))


@dataclass(frozen=True, slots=True)
class Readings:
    """What the status line shows."""

    used: int = 0
    available: int = 0
    spent: float = 0.0
    budget: float = 0.0
    spending: bool = False
    """Whether anything was spent at a higher tier, or may be."""
    tok_s: float = 0.0
    state: str = ""
    problem: bool = False


class StatusBar(Static):
    """Context meter, spending against the budget, speed, and what is going on."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 2; color: $quiet; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False, id="status")
        self.readings = Readings()

    def show(self, readings: Readings) -> None:
        """Draw these readings; nothing is done when they are the same."""
        if readings != self.readings or not self.content:
            self.readings = readings
            self._draw()

    def on_resize(self) -> None:
        """Fit into the new width."""
        self._draw()

    def _draw(self) -> None:
        now, width = self.readings, self.size.width
        parts: list[Content] = []
        if now.available:
            part = min(1.0, now.used / now.available)
            cells = 10 if width >= 70 else 5
            full = round(part * cells)
            colour = "$error" if part > 0.95 else "$warning" if part > 0.8 else "$primary"
            bar = Content.assemble(("━" * full, colour), ("─" * (cells - full), "$quiet"))
            parts.append(Content.assemble("context ", bar, f" {tokens(now.used)} of {tokens(now.available)}"))
        if now.spending:
            over = now.spent > now.budget > 0
            told = f"closer {percent(now.spent)}" + (f" of {percent(now.budget)}" if now.budget else "")
            parts.append(Content.styled(told, "$warning" if over else "$tier-high"))
        if now.tok_s:
            parts.append(Content(f"{now.tok_s:.0f} tok/s"))
        room = self.content_size.width
        if now.state:
            state = Content.styled(one_line(now.state, max(20, room)), "$error" if now.problem else "$foreground")
            # What was just said matters more than the meter: readings that do not fit beside it wait.
            while parts and sum(part.cell_length + 2 for part in parts) + state.cell_length > room:
                parts.pop(0)
            parts.append(state)
        self.update(Content("  ").join(parts))


class Hints(Static):
    """The keys that matter now."""

    DEFAULT_CSS = """
    Hints { height: 1; padding: 0 2; color: $quiet; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False, id="hints")
        self._pairs: list[tuple[str, str]] = []

    def show(self, pairs: list[tuple[str, str]]) -> None:
        """Draw pairs of key and words, as many as fit."""
        self._pairs = pairs
        self._draw()

    def on_resize(self) -> None:
        """Fit into the new width."""
        self._draw()

    def _draw(self) -> None:
        width, used = self.content_size.width, 0
        parts: list[tuple[str, str] | str] = []
        for key, words in self._pairs:
            cells = len(key) + len(words) + 1
            if used + cells > width:
                continue
            parts += [(key, "bold $primary"), f" {words}  "]
            used += cells + 2
        self.update(Content.assemble(*parts))
