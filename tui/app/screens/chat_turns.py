"""Running turns: sending, streaming, stopping, and what is left when a turn is over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agent.events import Asked, Finished, Reading, Said, Started, Stopped
from agent.values import Node
from tui.app import mentions
from tui.app.pace import SHORTEST, Pace
from tui.app.screens.chat_base import ChatBase, Events, Live
from tui.app.turns import Ended, Group, Turn, Written
from tui.app.widgets.card import Card
from tui.app.widgets.group import ReplyGroup
from tui.app.widgets.queue import Queue
from tui.app.widgets.reply import Reply
from tui.app.widgets.said import Said as SaidWidget

FULL = 0.92
"""Part of the context, reply included, from which older messages are folded by themselves."""
FOLDING = "folding older messages into a summary"
"""Said while it lasts."""
FEWEST = 6
"""Messages a conversation must have before it is folded by itself."""


def as_typed(text: str) -> str:
    """A message as it goes back into the prompt: one that begins with a slash would be a command there."""
    return f"/{text}" if text.startswith("/") else text


class TurnsMixin(ChatBase):
    """Turns of the conversation on the screen."""

    _pace: Pace
    _cpu: float = 0.0
    _folded_at: int | None = None
    _wrote_in: str = ""
    """The conversation of the last turn in this window."""

    # -- starting -----------------------------------------------------------------------------------------------------

    async def submit(self, text: str) -> None:
        """Send a message; while the model is busy it waits in the queue. Where nothing can be saved it stays typed."""
        if not text.strip():
            if self.waiting and self.busy:
                self.steer()
            elif self.waiting:
                self.held = False
                await self.next_in_queue()
            return
        if self.fovea.read_only:
            self.tell(f"Read only: {self.fovea.why_read_only}", problem=True)
            self.prompt.give_back(as_typed(text))
            return
        self.prompt.past.add(as_typed(text))
        if self.busy or (self.waiting and self.held):
            self.waiting.append(text)
            self.show_queue()
            return
        await self.send(text)

    async def send(self, text: str, *, n: int = 1, tiers: Sequence[str] = ()) -> None:
        """Send a message now."""
        whole, problems = mentions.expand(text, Path.cwd())
        off = set(self.passages_off)
        several = n > 1 or len(tiers) > 1
        for problem in problems:
            await self.said_by_fovea(problem)
        await self.run_turn(
            partial(self.session.send, whole, tier=self.speaking, n=n, tiers=tuple(tiers), passages_off=off),
            text=text,
            tiers=tuple(tiers) or ("",) * n,
            beside=several,
            blind=self.blind and several,
        )

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
        """Start a turn and show where it will be written.

        Args:
            events: makes the stream; called in a thread.
            text: a new message of the person, shown at once.
            parent: the message whose replies are written, when it is there already.
            tiers: one for each reply that will come; none when nothing will be written.
            beside: keep the other versions in view.
            blind: hide the tiers.
            seed: a reply whose beginning stays.
            upto: number of its tokens that stay (all when ``None``).
        """
        if self.busy:
            self.tell("One reply at a time: Esc stops this one", problem=True)
            return
        said: SaidWidget | None = None
        group: ReplyGroup | None = None
        panes: list[Reply] = []
        await self.show_welcome(False)
        turn = Turn(events)
        self.live = Live(turn, None, [], text=text, beside=beside or None, head=self.session.head)
        if text:
            said = SaidWidget(text)
            await self.transcript.add(said)
        if tiers:
            group = self.transcript.group(parent) if parent is not None and not text else None
            if group is None:
                group = ReplyGroup(parent)
                await self.transcript.add(group)
            panes = await group.begin(list(tiers), beside=beside, blind=blind)
            if seed is not None:
                await panes[-1].seed(seed, upto)
            words = "getting ready" if self.ladder else "waiting for the model to load"
            for pane in panes:
                pane.wait_for(words)
        self.live.group, self.live.panes, self.live.said = group, panes, said
        if text or (panes and self.transcript.at_bottom):
            self.transcript.follow()
        self.tell("")
        self.prompt.add_class("-busy")
        self.show_hints()
        self._wrote_in = self.session.id
        self._pace, self._cpu = Pace(), time.thread_time()
        turn.start()
        self.set_timer(SHORTEST / 2, self._draw)

    # -- drawing ------------------------------------------------------------------------------------------------------

    async def _draw(self) -> None:
        """Take what has come and draw it; then decide when to look again."""
        live = self.live
        if live is None or not isinstance(live.turn, Turn):
            return
        over = False
        for group in live.turn.take():
            over = over or isinstance(group, Ended)
            await self._show(live, group)
        if over:
            await self._over(live)
            return
        if live.tokens:
            self.show_status()
        now = time.thread_time()
        spent, self._cpu = now - self._cpu, now
        self.set_timer(self._pace.next_wait(spent), self._draw)

    async def _show(self, live: Live, event: Group) -> None:
        match event:
            case Started():
                await self._started(live, event)
            case Reading():
                for pane in live.panes:
                    pane.reading(event.done, event.total, event.cached)
            case Written() if event.seq < len(live.panes):
                if not live.tokens:
                    live.first_token = time.monotonic()
                live.tokens += len(event.steps)
                await live.panes[event.seq].write(event.steps)
            case Said():
                await self.transcript.say(event.text, after=live.group)
            case Asked():
                await self.show_card(event)
            case Finished():
                await self._committed(live, event.replies)
            case Stopped():
                await self._committed(live, event.replies)
                if event.problem:
                    await self.transcript.say(event.problem, problem=True, after=live.group)

    async def _started(self, live: Live, event: Started) -> None:
        if live.said is not None:
            live.said.commit(event.user)
        if live.group is not None and live.group.parent_id is None:
            live.group.parent_id = event.user.id
        self.passages = event.passages
        self.passages_changed()

    async def _committed(self, live: Live, replies: tuple[Node, ...]) -> None:
        for index, pane in enumerate(live.panes):
            await pane.finish(replies[index] if index < len(replies) else None)

    async def _over(self, live: Live) -> None:
        """The stream has ended: the tree is the truth now."""
        self.live = None
        self.prompt.remove_class("-busy")
        unsaid = bool(live.text) and live.said is not None and live.said.node is None
        if unsaid and self.session.head == live.head:  # not saved either: give the words back rather than lose them
            if not self.prompt.text:
                self.prompt.replace_all(as_typed(live.text))
            if live.said is not None:
                await live.said.remove()
            if live.group is not None:
                await live.group.remove()
        if live.group is not None and live.group.is_attached:
            replies = [n for n in self.versions_of(live.group.parent_id) if n.role == "assistant"]
            if replies:
                await live.group.settle(replies, self.session.head, beside=live.beside)
            else:
                await live.group.remove()
        await self.sync()
        await self.transcript.forget_oldest()
        for card in live.cards:
            self.offer_card(card)
        if self.answering:  # its card comes back if the look could not begin
            self.answering, answered = 0, self.answering
            await self.show_pending(answered)
        self._say_how_it_ended(live)
        self.show_queue()
        if self.ladder is not None and not self.fovea.ladder_current:
            self.load_model()
        if not self.held:
            await self.next_in_queue()

    def _say_how_it_ended(self, live: Live) -> None:
        if self.state == FOLDING:
            self.tell("")
        if live.steering:
            self.tell("Stopped there; your message goes on from it")
        elif live.stopping:
            self.held = bool(self.waiting)
            self.tell("Stopped; the part written is kept")

    async def fold(self) -> None:
        """Fold older messages into a summary."""
        await self.run_turn(self.session.compact, tiers=())
        if self.busy:
            self.tell(FOLDING)

    async def fold_when_full(self) -> None:
        """Fold before the context is full, so that the request for the summary still fits itself."""
        meter = self.meter
        if meter is None or self.busy or self.waiting or self.fovea.read_only or self._folded_at == self.session.head:
            return
        if self._wrote_in != self.session.id:
            return  # only opened, perhaps to read: nothing is written into it before the person does
        if meter.left_out or meter.used + meter.reserved > FULL * meter.available:
            self._folded_at = (
                self.session.head
            )  # once for each state: a summary that was refused is not asked for again
            if len(self.rows) >= FEWEST:
                await self.fold()

    # -- stopping and the queue ---------------------------------------------------------------------------------------

    def action_stop(self) -> None:
        """Esc: stop the reply, close the completions, or go back to the prompt."""
        if self.close_completions():
            return
        if self.live is not None:
            self._stop(self.live)
        else:
            self.held = bool(self.waiting)  # also where the reply ended just before: Esc never sends what waits
            self.prompt.focus()

    def _stop(self, live: Live) -> None:
        live.stopping = True
        for pane in live.panes:
            if not pane.steps:
                pane.wait_for("stopping")
        self.attempt(self.session.cancel)

    def steer(self) -> None:
        """Stop the reply where it is and send what waits now: the model goes on from both."""
        if self.live is not None:
            self.close_completions()
            self.live.steering = True
            self.held = False
            self._stop(self.live)

    async def next_in_queue(self) -> None:
        """Send the message that has waited longest."""
        if self.waiting and not self.busy:
            text = self.waiting.popleft()
            self.show_queue()
            await self.send(text)

    def show_queue(self) -> None:
        """Draw what waits."""
        self.prompt.queued = bool(self.waiting)
        self.query_one(Queue).show(list(self.waiting), held=self.held)
        self.show_hints()

    def take_back(self) -> None:
        """The last queued message goes back into the prompt."""
        if self.waiting:
            self.prompt.replace_all(as_typed(self.waiting.pop()))
            self.held = self.held and bool(self.waiting)
            self.show_queue()

    # -- declared for the other mixins ---------------------------------------------------------------------------------

    def offer_card(self, card: Card) -> None:
        """Give a card the focus, unless the person is writing."""

    def passages_changed(self) -> None:
        """The recalled passages changed."""
