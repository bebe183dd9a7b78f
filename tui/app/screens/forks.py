"""Fork map: where a higher tier would have said something else, worst first, and both ways of going on side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agent.events import Finished, Reading, Stopped
from agent.values import Node, Scope
from backends.types import ForkMap, Judgement
from tui.app import fork_text
from tui.app.background import Outcome, in_background
from tui.app.pace import SHORTEST
from tui.app.safe import one_line
from tui.app.screens.panel import Panel
from tui.app.turns import Ended, Turn, Written
from tui.app.words import percent, plural

if TYPE_CHECKING:
    from agent.session import Session

WIDE = 100
DECIDE = "Written. t takes it, b keeps both, Esc leaves the reply as it was."


class Forks(Panel[bool]):
    """Gives back whether the conversation changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor(1)", "Down", id="forks-down", show=False),
        Binding("k", "cursor(-1)", "Up", id="forks-up", show=False),
        Binding("b", "branch", "Branch there", id="forks-branch"),
        Binding("r", "repair", "Repair the sentence", id="forks-repair"),
        Binding("t", "take", "Take the other one", id="forks-take"),
        Binding("f,q", "close", "Close", id="forks-close"),
    ]
    DEFAULT_CSS = """
    Forks .head { height: auto; color: $quiet; margin: 0 0 1 0; }
    Forks .split { height: 1fr; }
    Forks OptionList { width: 44; height: 1fr; max-height: 100%; }
    Forks .told { width: 1fr; height: 1fr; padding: 0 0 0 2; scrollbar-size-vertical: 1; }
    Forks .told > Static { height: auto; }
    Forks.-narrow .split { layout: vertical; }
    Forks.-narrow OptionList { width: 1fr; height: auto; max-height: 35%; }
    Forks.-narrow .told { padding: 0; border-top: solid $panel; }
    """
    heading = "Fork map"
    keys = (
        ("Enter", "write both"),
        ("forks-take", "take the other"),
        ("forks-branch", "keep both"),
        ("forks-repair", "repair"),
    )

    def __init__(self, session: Session, node: Node, *, tier: str = "") -> None:
        super().__init__(classes="-wide")
        self._session = session
        self._node = node
        self._tier = tier
        self._map: ForkMap | None = None
        self._at: list[int] = []
        self._other: dict[int, Node] = {}
        """The other way of going on, by position, once it was written."""
        self._spans: set[tuple[int, int]] = set()
        """What was written by the higher tier already."""
        self._turn: Turn | None = None
        self._text = ""
        self._writing_at = 0
        self._changed = False
        self._head_before = session.head

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield Static(f"Reading the reply at {self._tier or 'the highest tier'} …", classes="head", markup=False)
        with Horizontal(classes="split"):
            yield OptionList(markup=False)
            with VerticalScroll(classes="told", can_focus=False):
                yield Static("", markup=False)

    def on_mount(self) -> None:
        """Read the reply at the higher tier, in a thread."""
        self.query_one(OptionList).focus()
        in_background(partial(self._session.forks, self._node.id, self._tier), self._read)

    def on_resize(self, event: events.Resize) -> None:
        """Beside when wide, below when narrow."""
        self.set_class(event.size.width < WIDE, "-narrow")

    # -- the list -----------------------------------------------------------------------------------------------------

    def _read(self, outcome: Outcome[ForkMap]) -> None:
        if not self.is_attached:
            return
        if outcome.value is None:
            self._say(outcome.problem, problem=True)
            return
        self._map, self._at = outcome.value, outcome.value.forks()
        total = len(self._map.judgements)
        if not self._at:
            self._say(f"{self._map.tier} would have written every one of these {total} tokens: nothing to repair.")
            return
        same = 1 - len(self._at) / max(1, total)
        own = " It wrote this reply itself: these were drawn by chance." if self._map.tier == self._node.tier else ""
        self._say(
            f"{self._map.tier} agrees with {percent(same)} of {plural(total, 'token')}; "
            f"{plural(len(self._at), 'fork')}, worst first.{own}"
        )
        options = self.query_one(OptionList)
        options.add_options([Option(fork_text.row(position, self._judgement(position))) for position in self._at])
        options.highlighted = 0

    def _say(self, text: str, *, problem: bool = False) -> None:
        if self.is_attached:
            self.query_one(".head", Static).update(
                Content.styled(one_line(text), "$error" if problem else "$foreground")
            )

    def _judgement(self, position: int) -> Judgement:
        if self._map is None:
            raise IndexError(position)
        return self._map.judgements[position]

    @property
    def _here(self) -> int | None:
        at = self.query_one(OptionList).highlighted
        return self._at[at] if at is not None and at < len(self._at) else None

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._show()

    @on(OptionList.OptionSelected)
    def _selected(self) -> None:
        self._write(lambda position: (position, position + 1))

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    # -- both ways ----------------------------------------------------------------------------------------------------

    def _show(self, streaming: str | None = None) -> None:
        position = self._here
        if position is None or self._map is None:
            return
        other, text = self._other.get(position), streaming
        if text is None and other is not None:
            text = fork_text.after(self._map, other.text, position)
        told = fork_text.both_ways(self._map, position, self._node.tier, text, done=streaming is None)
        self.query_one(".told", VerticalScroll).query_one(Static).update(told)

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write(self, span: Callable[[int], tuple[int, int]]) -> None:
        """Write the other way: the higher tier takes the span, the speaking tier goes on."""
        position = self._here
        if position is None or self._map is None:
            return
        start, end = span(position)
        if self._turn is not None or (start, end) in self._spans:
            self._say("One at a time: this is being written." if self._turn is not None else DECIDE)
            return
        self._spans.add((start, end))
        tier, node_id = self._map.tier, self._node.id
        look = partial(self._session.look_closer, node_id, scope=Scope.SPAN, start=start, end=end, tier=tier)
        self._turn, self._text, self._writing_at = Turn(look), "", position
        self._show("")
        self._turn.start()
        self.set_timer(SHORTEST, self._draw)

    def _draw(self) -> None:
        """Take what has come and show it."""
        turn = self._turn
        if turn is None:
            return
        for event in turn.take():
            match event:
                case Written():
                    self._text += "".join(step.text for step in event.steps)
                case Reading():
                    self._say(f"reading {event.done:,} of {event.total:,} tokens")
                case Finished() | Stopped():
                    self._written(event.replies, event.problem if isinstance(event, Stopped) else "")
                case Ended():
                    self._turn = None
        if self._turn is not None:
            if self._here == self._writing_at:
                self._show(self._text)
            self.set_timer(SHORTEST, self._draw)
        else:
            self._show()

    def _written(self, replies: tuple[Node, ...], problem: str) -> None:
        if replies:
            self._changed = True
            self._other[self._writing_at] = replies[0]
            if self._head_before is not None:  # the person decides which one the conversation goes on from
                self._session.move_to(self._head_before)
        else:
            self._spans.clear()
        self._say(problem or DECIDE, problem=bool(problem))

    # -- deciding -----------------------------------------------------------------------------------------------------

    def _other_here(self) -> Node | None:
        position = self._here
        other = self._other.get(position) if position is not None else None
        if other is None:
            self._say("Press Enter first: the other way is not written yet.")
        return other

    def action_take(self) -> None:
        """The conversation goes on from the other one."""
        if other := self._other_here():
            self._session.pick(other.id, [self._node.id, other.id])
            self.dismiss(True)

    def action_branch(self) -> None:
        """Keep both; the other one gets a bookmark and the conversation stays where it is."""
        if other := self._other_here():
            fork = self._judgement(self._here or 0)
            label = f"{self._map.tier if self._map else ''}: {fork.best_text.strip()}"
            self._session.bookmark(other.id, label)
            self._say(f"Kept as a branch with the bookmark “{one_line(label, 40)}”; F4 shows the tree.")

    def action_repair(self) -> None:
        """The higher tier writes the rest of the sentence, then the speaking tier goes on."""
        self._write(self._sentence)

    def _sentence(self, position: int) -> tuple[int, int]:
        judgements = self._map.judgements if self._map else ()
        for index in range(position, len(judgements)):
            text = judgements[index].text
            if index > position and ("\n" in text or text.rstrip().endswith((".", "!", "?"))):
                return position, index + 1
        return position, max(position + 1, len(judgements))

    def action_close(self) -> None:
        """Close; a running continuation is stopped."""
        if self._turn is not None:
            self._session.cancel()
        self.dismiss(self._changed)
