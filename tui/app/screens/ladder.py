"""The ladder: tiers with their files, memory and measured speeds; policy and budget in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from agent.ladder import model_name
from agent.values import Policy, Scope
from backends.types import LadderStatus, TierStatus
from tui.app.background import Outcome, in_background, sentence
from tui.app.captions import tier_colour
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.widgets.dial import Dial
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
    LadderScreen .tiers { height: auto; margin: 0 0 1 0; text-wrap: nowrap; text-overflow: ellipsis; }
    LadderScreen .said { height: auto; color: $quiet; }
    """
    heading = "The ladder"
    keys = (("← →", "change"), ("↑ ↓", "move"), ("s", "make this the default"))

    def __init__(self, fovea: Fovea, session: Session) -> None:
        super().__init__()
        self._fovea = fovea
        self._session = session

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        policy = self._session.policy
        budgets = [(percent(b), f"{share(b)} may be looked at closer") for b in BUDGETS]
        nearest = min(range(len(BUDGETS)), key=lambda i: abs(BUDGETS[i] - policy.budget))
        yield Static("loading …", classes="tiers", markup=False)
        yield Dial("policy", [(str(p), w) for p, w in POLICIES], _index(POLICIES, policy.mode), id="policy")
        yield Dial("scope", [(str(s), w) for s, w in SCOPES], _index(SCOPES, policy.scope), id="scope")
        yield Dial("budget", budgets, nearest, id="budget")
        yield Static(self._spent(), classes="said", markup=False)

    def on_mount(self) -> None:
        """Ask for the ladder in a thread: it may have to be loaded first."""
        self.query_one("#policy", Dial).focus()
        in_background(self._fovea.ladder, self._loaded)

    def _loaded(self, outcome: Outcome[LadderStatus]) -> None:
        if not self.is_attached:
            return
        tiers = self.query_one(".tiers", Static)
        if outcome.value is None:
            tiers.update(Content.styled(one_line(outcome.problem), "$error"))
        else:
            tiers.update(self._table(outcome.value))

    def _table(self, ladder: LadderStatus) -> Content:
        head = f"{'tier':<8}{'memory':>9}{'load':>8}{'reads':>12}{'writes':>12}  file"
        rows = [Content.styled(head, "$quiet"), *(self._tier(tier) for tier in ladder.tiers)]
        predicted = sum(tier.bytes for tier in ladder.tiers if tier.loaded)
        measured = f", measured {size(ladder.rss)}" if ladder.rss else ""
        rows += [
            Content(""),
            Content.styled(
                f"{one_line(ladder.architecture, 30)}, context {ladder.ctx:,}; "
                f"weights {size(predicted)} by the files{measured}",
                "$quiet",
            ),
        ]
        rows += [Content.styled(one_line(notice), "$warning") for notice in ladder.notices]
        return Content("\n").join(rows)

    def _tier(self, tier: TierStatus) -> Content:
        name = Content.styled(f"{one_line(tier.name, 7):<8}", f"bold {tier_colour(tier.name)}")
        if not tier.loaded:
            return Content.assemble(name, (f"not loaded: {one_line(tier.problem, 90)}", "$error"))
        speed = self._fovea.tree.ledger.speed(model_name(self._fovea.settings), tier.name)
        read = f"{speed.prefill_tok_s:,.0f} tok/s" if speed.prefill_tok_s else "?"
        wrote = f"{speed.decode_tok_s:,.0f} tok/s" if speed.decode_tok_s else "?"
        facts = f"{size(tier.bytes):>9}{tier.load_s:>6.1f} s{read:>12}{wrote:>12}  "
        return Content.assemble(name, facts, (one_line(tier.path.name, 40), "$quiet"))

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
