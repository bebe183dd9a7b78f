"""Proposed closer looks: the card below its reply, and what its answer does."""

from __future__ import annotations

from functools import partial

from textual import on

from agent.events import Asked
from tui.app.screens.chat_turns import TurnsMixin
from tui.app.widgets.card import Card


class CardsMixin(TurnsMixin):
    """Cards."""

    async def show_card(self, event: Asked) -> None:
        """Put a proposed closer look below its reply."""
        if any(card.ask.id == event.ask.id for card in self.query(Card)):
            return
        node = self.attempt(lambda: self.session.node(event.ask.node))
        where = ""
        if node is not None:
            span = node.steps[event.ask.start : event.ask.end]
            where = "".join(step.text for step in span) or node.text
        live_group = self.live.group if self.live else None
        group = live_group or self.transcript.group(node.parent if node else None)
        card = Card(event.ask, where)
        await self.transcript.add(card, after=group)
        if self.live is not None:
            self.live.cards.append(card)
        else:
            self.offer_card(card)

    answering = 0
    """The proposal whose answer is being carried out."""

    async def show_pending(self, only: int | None = None) -> None:
        """Closer looks that were proposed and not answered: earlier, or just now if the look could not begin."""
        for ask in self.attempt(self.session.pending_asks) or []:
            if only in (None, ask.id) and self.transcript.reply(ask.node) is not None:
                await self.show_card(Asked(ask))

    def offer_card(self, card: Card) -> None:
        """Give a card the focus, unless the person is writing or reads above: keys must not answer an unseen card."""
        if not card.is_attached:
            return
        if self.transcript.at_bottom or self.transcript.follows:
            self.transcript.follow()
        self.call_after_refresh(self._focus_card, card)

    def _focus_card(self, card: Card) -> None:
        """Once it has its place on the screen."""
        follows = self.transcript.follows
        if follows:
            self.transcript.follow()  # the height is known only now
        seen = card.is_attached and (follows or self.transcript.region.overlaps(card.region))
        if seen and self.prompt.has_focus and not self.prompt.text and not self.waiting:
            card.focus(scroll_visible=False)
        elif card.is_attached:
            self.tell("A closer look is proposed: Ctrl+T goes there")

    @on(Card.Answered)
    async def _answered(self, event: Card.Answered) -> None:
        if self.busy:
            self.tell("One reply at a time: answer when this one is done", problem=True)
            return
        ask, choice = event.card.ask, event.choice
        self.answering = ask.id
        await event.card.remove()
        self.prompt.focus()
        node = self.attempt(lambda: self.session.node(ask.node))
        writes = {"look": 1, "both": 1, "always": 1, "continuations": event.n}.get(choice, 0)
        self.tell({"stay": "Stays as it is", "refuse": "Refused; the reason is kept"}.get(choice, ""))
        await self.run_turn(
            partial(self.session.answer, ask, choice, reason=event.reason, n=event.n),
            parent=node.parent if node else None,
            tiers=(ask.tier,) * writes,
            beside=choice in ("both", "continuations"),
            seed=node if node and ask.start and choice != "continuations" else None,
            upto=ask.start,
        )

    @on(Card.TypedAhead)
    def _typed_ahead(self, event: Card.TypedAhead) -> None:
        self.prompt.focus()
        self.prompt.insert(event.text)
        self.tell("A closer look is proposed: Ctrl+T goes there")

    @on(Card.Left)
    def _left(self) -> None:
        self.prompt.focus()
