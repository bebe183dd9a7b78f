"""The ladder: tiers with their files, memory and measured speeds; policy and budget in words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agent.values import Policy, Scope
from backends.types import LadderStatus
from tui.app.background import Outcome, in_background, sentence
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.widgets.dial import Dial
from tui.app.widgets.tier_row import HEAD, TierRow
from tui.app.words import percent, share, size

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.session import Session

POLICIES = (
    (Policy.OFF, "never look closer; Ctrl+R is off too"),
    (Policy.MANUAL, "only when you say so, with Ctrl+R"),
    (Policy.ASK, "fovea proposes where words are nearly tied; you decide"),
    (Policy.AUTO, "fovea looks closer by itself, within the budget"),
)
SCOPES = (
    (Scope.SPAN, "only the doubtful part is written again"),
    (Scope.TURN, "the whole reply is written again"),
)
BUDGETS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.33, 0.5, 0.75, 1.0)


class LadderScreen(Panel[None]):
    """Changes apply to this conversation at once; ``s`` makes them the default."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "app.focus_next", "Down", id="ladder-down", show=False),
        Binding("up,k", "app.focus_previous", "Up", id="ladder-up", show=False),
        Binding("s", "save", "Make this the default", id="ladder-save"),
        Binding("q", "close", "Close", id="ladder-close"),
    ]
    DEFAULT_CSS = """
    LadderScreen .tiers { height: auto; }
    LadderScreen .head { height: 1; color: $quiet; text-wrap: nowrap; }
    LadderScreen .memory { height: auto; color: $quiet; margin: 0 0 1 0; padding: 0 0 0 2; }
    LadderScreen .said { height: auto; color: $quiet; }
    """
    heading = "The ladder"
    keys = (
        ("↑ ↓", "move"),
        ("← →", "change"),
        ("Space", "load or free a tier"),
        ("ladder-save", "make this the default"),
    )

    def __init__(self, fovea: Fovea, session: Session) -> None:
        super().__init__()
        self._fovea = fovea
        self._session = session
        self._needs: dict[str, int] = {}

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        policy = self._session.policy
        budgets = [(percent(b), f"{share(b)} may be looked at closer") for b in BUDGETS]
        nearest = min(range(len(BUDGETS)), key=lambda i: abs(BUDGETS[i] - policy.budget))
        yield Static(HEAD, classes="head", markup=False)
        yield Vertical(classes="tiers")
        yield Static("loading …", classes="memory", markup=False)
        yield Dial("policy", [(str(p), w) for p, w in POLICIES], _index(POLICIES, policy.mode), id="policy")
        yield Dial("scope", [(str(s), w) for s, w in SCOPES], _index(SCOPES, policy.scope), id="scope")
        yield Dial("budget", budgets, nearest, id="budget")
        yield Static(self._spent(), classes="said", markup=False)

    def on_mount(self) -> None:
        """Ask for the ladder in a thread: it may have to be loaded first."""
        self.query_one("#policy", Dial).focus()
        in_background(self._look, self._loaded)

    def _look(self) -> LadderStatus:
        ladder = self._fovea.ladder()
        self._needs = self._fovea.predicted_memory()
        return ladder

    def _loaded(self, outcome: Outcome[LadderStatus]) -> None:
        if not self.is_attached:
            return
        if outcome.value is None:
            self._memory(outcome.problem, problem=True)
            for row in self.query(TierRow):
                row.show(row.tier, self._needs.get(row.tier.name, 0), self._session.speed(row.tier.name))
            return
        ladder, rows = outcome.value, {row.tier.name: row for row in self.query(TierRow)}
        for tier in ladder.tiers:
            need, speed = self._needs.get(tier.name, 0), self._session.speed(tier.name)
            if tier.name in rows:
                rows[tier.name].show(tier, need, speed)
            else:
                self.query_one(".tiers", Vertical).mount(TierRow(tier, need, speed))
        self._memory(self._told(ladder))
        notices = [one_line(notice) for notice in ladder.notices]
        if notices:
            self._say("; ".join(notices))

    def _told(self, ladder: LadderStatus) -> str:
        predicted = sum(self._needs.get(tier.name, tier.bytes) for tier in ladder.tiers if tier.loaded)
        measured = f", measured {size(ladder.rss)}" if ladder.rss else ""
        about = f"{one_line(ladder.architecture, 30)}, context {ladder.ctx:,}"
        return f"{about}; memory: predicted {size(predicted + self._fovea.host_memory)}{measured}"

    def _memory(self, text: str, *, problem: bool = False) -> None:
        self.query_one(".memory", Static).update(Content.styled(one_line(text), "$error" if problem else "$quiet"))

    @on(TierRow.Switched)
    def _switched(self, event: TierRow.Switched) -> None:
        in_background(partial(self._fovea.rest, event.tier, event.resting), self._loaded)

    def _spent(self) -> Content:
        spending = self._session.spending()
        if not spending.all:
            return Content("Nothing was written in this conversation yet.")
        told = f"{spending.high:,} of {spending.all:,} tokens ({percent(spending.share)})"
        return Content(f"Looked at closer in this conversation: {told}, {share(spending.share)}.")

    @on(Dial.Turned)
    def _turned(self, event: Dial.Turned) -> None:
        try:
            if event.dial.id == "policy":
                self._session.set_policy(mode=Policy(event.value))
            elif event.dial.id == "scope":
                self._session.set_policy(scope=Scope(event.value))
            else:
                self._session.set_policy(budget=BUDGETS[event.dial.at])
        except Exception as error:
            self._say(sentence(error))

    def _say(self, text: str) -> None:
        self.query_one(".said", Static).update(one_line(text))

    def action_save(self) -> None:
        """Write policy, scope and budget into the settings."""
        policy = self._session.policy
        changes = {
            "policy.mode": str(policy.mode),
            "policy.scope": str(policy.scope),
            "policy.budget": policy.budget,
        }
        save = getattr(self.app, "save_settings", None)
        self._say((save(changes) if save else "") or "This is the default of new conversations now.")


def _index(choices: tuple[tuple[object, str], ...], value: object) -> int:
    return next((i for i, (choice, _) in enumerate(choices) if choice == value), 0)
