"""What the parts of the chat screen share: the session, the widgets, and how the screen follows the tree."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from textual.screen import Screen

from agent.events import Asked, TurnEvent
from agent.values import Node, Passage
from backends.types import LadderStatus
from tui.app.background import Outcome, in_background, sentence
from tui.app.rows import Rows
from tui.app.widgets.bars import Hints, Readings, StatusBar, TitleBar
from tui.app.widgets.prompt import Prompt
from tui.app.widgets.reply import Reply
from tui.app.widgets.transcript import Transcript

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.session import Session
    from agent.values import Meter
    from tui.app.app import FoveaApp
    from tui.app.widgets.card import Card
    from tui.app.widgets.group import ReplyGroup
    from tui.app.widgets.said import Said

T = TypeVar("T")
STAYS = 12.0
"""Seconds a line stays in the status bar."""
Events = Callable[[], Iterator[TurnEvent]]


@dataclass
class Live:
    """The turn being written."""

    turn: object
    group: ReplyGroup | None
    panes: list[Reply]
    said: Said | None = None
    stopping: bool = False
    steering: bool = False
    """Stopped in favour of the message that waits."""
    tokens: int = 0
    first_token: float = 0.0
    cards: list[Card] = field(default_factory=list)
    text: str = ""
    """The message, given back to the prompt when nothing came of the turn."""
    beside: bool | None = None
    head: int | None = None
    """Where the conversation stood before."""

    def speed(self) -> float:
        """Tokens per second since the first token."""
        passed = time.monotonic() - self.first_token
        return (self.tokens - 1) / passed if self.first_token and self.tokens > 1 and passed > 0.2 else 0.0


class ChatBase(Screen[None]):
    """State and small services; the behaviour is in the mixins of ``screens/chat.py``."""

    app: FoveaApp

    def __init__(self, fovea: Fovea, session_id: str | None = None) -> None:
        super().__init__()
        self.fovea = fovea
        self.session: Session = fovea.session(session_id)
        self.live: Live | None = None
        self.waiting: deque[str] = deque()
        """Messages typed while the model is busy."""
        self.held = False
        """After a stop the queue waits for the person."""
        self.ladder: LadderStatus | None = None
        self.passages: tuple[Passage, ...] = ()
        self.passages_off: set[str] = set()
        self.blind = False
        self.speaking = ""
        """The tier that speaks in this window; empty as the settings say."""
        self.meter: Meter | None = None
        self.rows = Rows((), lambda _: ())
        self.state = ""
        self.problem = False

    # -- widgets ------------------------------------------------------------------------------------------------------

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        """Where the person writes."""
        return self.query_one(Prompt)

    @property
    def busy(self) -> bool:
        """Whether a turn is running."""
        return self.live is not None

    # -- services -----------------------------------------------------------------------------------------------------

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Do something quick with the session; a problem becomes one line, and ``None`` comes back."""
        try:
            return work()
        except Exception as error:
            self.app.log.error(str(error))
            self.tell(sentence(error), problem=True)
            return None

    def managed(self, work: Callable[[], object]) -> bool:
        """Do something quick; says whether it worked. A problem becomes one line."""
        return self.attempt(lambda: (work(),)) is not None

    def background(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do something slow in a thread, then ``then(value)``; a problem becomes one line."""

        def arrived(outcome: Outcome[T]) -> None:
            if not self.is_attached:
                return
            if outcome.problem:
                self.tell(outcome.problem, problem=True)
            else:
                self.call_later(then, outcome.value)

        in_background(work, arrived)

    def tell(self, text: str, *, problem: bool = False) -> None:
        """Say one line in the status bar; it stays a while, or until something else is said."""
        self.state, self.problem = text, problem
        self.show_status()
        if text:
            self.set_timer(STAYS, lambda: self.tell("") if self.state == text else None)

    async def said_by_fovea(self, text: str, *, problem: bool = False) -> None:
        """Say one line at this place of the conversation."""
        await self.transcript.say(text, problem=problem)

    # -- bars ---------------------------------------------------------------------------------------------------------

    def show_status(self) -> None:
        """Draw the status bar from what is known."""
        spending = self.attempt_spending()
        meter = self.meter
        self.query_one(StatusBar).show(
            Readings(
                used=meter.used if meter else 0,
                available=meter.available if meter else 0,
                spent=spending[0],
                budget=spending[1],
                spending=bool(spending[0]) or self.policy in ("auto", "ask"),
                tok_s=self.live.speed() if self.live else 0.0,
                state=self.state,
                problem=self.problem,
            )
        )

    def attempt_spending(self) -> tuple[float, float]:
        """Share spent at higher tiers, and the budget (0..1 both)."""
        try:
            spending = self.session.spending()
        except Exception:
            return 0.0, 0.0
        return spending.share, spending.budget

    @property
    def policy(self) -> str:
        """The policy in force."""
        return str(self.session.policy.mode)

    def show_title(self) -> None:
        """Draw the title bar from what is known."""
        self.query_one(TitleBar).tell(
            title=self.session.title or "new conversation",
            model=self.fovea.settings.model.rsplit("/", 1)[-1],
            tiers=self.ladder.loaded() if self.ladder else [],
            policy=self.policy,
            warning="read only" if self.fovea.read_only else "",
        )

    def show_hints(self) -> None:
        """Draw the keys that matter where the focus is."""
        self.query_one(Hints).show(self.app.hints_for(self.focused, busy=self.busy, queued=len(self.waiting)))

    # -- the tree -----------------------------------------------------------------------------------------------------

    @property
    def unanswered(self) -> Node | None:
        """The message the conversation ends with, where it got no reply (fovea was killed, or stopped before one)."""
        last = self.rows[-1].node if len(self.rows) else None
        return last if last is not None and last.role == "user" else None

    def what_is_open(self) -> str:
        """What a person who opens a conversation may want to do first; empty when nothing waits."""
        return "The last message got no reply; /again writes one" if self.unanswered and not self.busy else ""

    def versions_of(self, node_id: int | None) -> Sequence[Node]:
        """Children of a node that are not deleted."""
        return self.session.children(node_id)

    async def sync(self, *, reload: bool = False) -> None:
        """Bring the transcript in line with the tree.

        Args:
            reload: mount everything anew (another session, or the head moved far away).
        """
        self.rows = Rows(self.session.path(steps=False), self.versions_of)
        if reload:
            await self.transcript.load(self.rows)
        else:
            await self.transcript.sync(self.rows)
        await self.show_welcome(not len(self.rows))
        self.show_title()
        self.refresh_meter()
        self.show_status()
        self.show_hints()

    async def show_welcome(self, empty: bool) -> None:
        """Show or remove what an empty conversation shows."""
        from tui.app.widgets.welcome import Welcome

        there = self.query(Welcome)
        if empty and not there and not self.transcript.children:
            await self.transcript.add(Welcome())
        elif not empty and there:
            await there.remove()

    def refresh_meter(self) -> None:
        """Count the tokens of the prompt, in a thread; skipped while the model is busy."""
        if self.busy or self.ladder is None:
            return
        draft, session = self.prompt.text, self.session

        def got(meter: Meter) -> None:
            if session is self.session:
                self.meter = meter
                self.show_status()
                self.call_later(self.fold_when_full)

        self.background(lambda: session.meter(draft), got)

    async def fold_when_full(self) -> None:
        """Fold older messages before the context is full."""

    def show_queue(self) -> None:
        """Draw what waits."""
        raise NotImplementedError

    def load_model(self) -> None:
        """Load the ladder in a thread."""
        raise NotImplementedError

    def took_ladder(self, ladder: LadderStatus) -> None:
        """The ladder is loaded, or one of its tiers was loaded or freed."""
        raise NotImplementedError

    async def command(self, line: str) -> None:
        """Run a typed command."""
        raise NotImplementedError

    def close_completions(self) -> bool:
        """Close the list of completions; says whether it was open."""
        return False

    async def show_card(self, event: Asked) -> None:
        """Put a proposed closer look below its reply."""
        raise NotImplementedError

    answering: int

    async def show_pending(self, only: int | None = None) -> None:
        """Closer looks that were proposed and not answered; or one of them."""
        raise NotImplementedError

    # -- turns (implemented by the turns mixin, declared for the others) ----------------------------------------------

    async def run_turn(
        self,
        events: Events,
        *,
        text: str = "",
        parent: int | None = None,
        tiers: Sequence[str] = ("",),
        beside: bool = False,
        blind: bool = False,
        seed: Node | None = None,
        upto: int | None = None,
    ) -> None:
        """Start a turn."""
        raise NotImplementedError

    async def submit(self, text: str) -> None:
        """Send a message, or queue it."""
        raise NotImplementedError
