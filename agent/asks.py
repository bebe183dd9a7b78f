"""Answering a proposed closer look. The first answer counts; what is refused stays at the low tier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from agent import branches
from agent.desk import Desk, State
from agent.errors import AgentError, TurnError
from agent.events import TurnEvent
from agent.ledger import FROM_ANSWER
from agent.turn import Spec
from agent.values import Ask, Policy
from backends.errors import BackendError

CHOICES = ("look", "stay", "both", "continuations", "always", "refuse")


def answer(
    desk: Desk, state: State, run: branches.Run, ask: Ask, choice: str, reason: str, n: int
) -> Iterator[TurnEvent]:
    """Record the answer and stream what follows from it. What is refused before it begins leaves the proposal open."""
    if choice not in CHOICES:
        raise TurnError(f"`{choice}` is not an answer; there are: {', '.join(CHOICES)}")
    if not desk.tree.ledger.answer(ask.id, choice, reason):
        raise TurnError("This closer look was answered already")
    before, mode, begun = desk.tree.ledger.last_decision(state.id), state.policy.mode, False
    try:
        for event in _carry_out(desk, state, run, ask, choice, reason, n):
            begun = True
            yield event
    except (AgentError, BackendError):
        if not begun:
            with suppress(AgentError):  # a full disk: the reason it was refused says so already
                desk.tree.ledger.reopen(ask.id, state.id, before)
            state.policy = state.policy.model_copy(update={"mode": mode})
        raise


def _carry_out(
    desk: Desk, state: State, run: branches.Run, ask: Ask, choice: str, reason: str, n: int
) -> Iterator[TurnEvent]:
    reply = desk.tree.node(ask.node)
    if choice in ("stay", "refuse"):
        why = f": {reason}" if reason else ""
        desk.tree.ledger.note(
            state.id, "refused", f"stayed at {reply.tier}{why}", node=reply.id, predicted_s=ask.seconds
        )
        return
    if choice == "always":
        state.policy = state.policy.model_copy(update={"mode": Policy.AUTO})
        desk.tree.ledger.note(state.id, "setting", FROM_ANSWER)
    if choice == "continuations":
        decision = desk.tree.ledger.note(
            state.id, "approved", f"{n} continuations at {ask.tier}", node=reply.id, predicted_s=ask.seconds
        )
        yield from run(Spec(reply.parent, tier=ask.tier, n=n, recall=False, review=False, decision=decision))
        return
    yield from branches.look_closer(
        desk,
        state,
        run,
        reply,
        ask.scope,
        (ask.start, ask.end),
        ask.tier,
        ask,
        move_head=choice != "both",
    )
