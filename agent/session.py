"""One conversation as the screens use it: send, look closer, branch, pick, export.

Everything is synchronous; what streams is an iterator of ``agent.events``. Closing an iterator early stops the turn and
keeps what was written. One turn runs at a time; ``cancel`` may come from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

from agent import asks, branches, compaction, export
from agent.desk import Desk, State
from agent.errors import BusyError, NotFoundError, TurnError
from agent.events import TurnEvent
from agent.prompt import pack_prompt, prompt_before
from agent.settings import PolicySettings
from agent.turn import Spec, Turn
from agent.values import Ask, Decision, Meter, Node, Passage, Policy, Scope, Speed, Spending, Status
from backends.errors import EngineBusy
from backends.types import ForkMap, Message

CHARS_PER_TOKEN = 3.5
"""For the meter before a model is loaded; the meter says that it is an estimate."""


class Session:
    """A conversation. Made by ``Fovea.session``."""

    def __init__(self, desk: Desk, state: State) -> None:
        self._desk = desk
        self._state = state
        self._undo: list[tuple[str, int]] = []

    # What it is -------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Name of the conversation."""
        return self._state.id

    @property
    def title(self) -> str:
        """Its title; empty before the first message. Foreign text."""
        info = self._desk.tree.shelf.info(self.id)
        return info.title if info else ""

    @property
    def head(self) -> int | None:
        """The node the next message is added below."""
        return self._state.head

    @property
    def policy(self) -> PolicySettings:
        """Policy and budget in force in this conversation."""
        return self._state.policy

    @property
    def writing(self) -> bool:
        """Whether a turn runs now."""
        return self._state.writing.locked()

    def path(self, *, steps: bool = True) -> list[Node]:
        """Root to head. ``steps=False`` leaves the provenance out, which is fast for thousands of messages."""
        return self._desk.tree.path(self.head, steps=steps)

    def children(self, node_id: int | None) -> list[Node]:
        """The versions that follow a node (``None``: the first messages), oldest first."""
        return self._desk.tree.children(self.id, node_id)

    def node(self, node_id: int) -> Node:
        """One message with its provenance. Raises NotFoundError."""
        node = self._desk.tree.node(node_id)
        if node.session != self.id:
            raise NotFoundError(f"Message {node_id} is in another conversation")
        return node

    def nodes(self) -> list[Node]:
        """Every message of the conversation, all branches, without provenance; for the tree view."""
        return [node for node in self._desk.tree.all_nodes(self.id) if not node.deleted]

    def passages(self, node_id: int) -> tuple[Passage, ...]:
        """What was recalled for a message of the person."""
        return self._desk.tree.passages(node_id)

    # Writing ----------------------------------------------------------------------------------------------------

    def send(
        self,
        text: str,
        *,
        tier: str = "",
        n: int = 1,
        tiers: Sequence[str] = (),
        passages_off: Collection[str] = (),
    ) -> Iterator[TurnEvent]:
        """Say something: ``n`` continuations from one tier in one batch, or one from each of ``tiers``."""
        if not text.strip():
            raise TurnError("The message is empty")
        return self._turn(Spec(self.head, text, tier, n, tiers, passages_off=passages_off))

    def reply(
        self, *, tier: str = "", n: int = 1, tiers: Sequence[str] = (), passages_off: Collection[str] = ()
    ) -> Iterator[TurnEvent]:
        """Reply to the message of the person at the head (after ``edit``, or when a turn failed)."""
        return self._turn(Spec(self.head, None, tier, n, tiers, passages_off=passages_off))

    def regenerate(
        self,
        node_id: int,
        *,
        tier: str = "",
        n: int = 1,
        tiers: Sequence[str] = (),
        passages_off: Collection[str] = (),
    ) -> Iterator[TurnEvent]:
        """Another version of a reply, beside it."""
        reply = self._reply_node(node_id)
        return self._turn(Spec(reply.parent, None, tier, n, tiers, passages_off=passages_off))

    def look_closer(
        self,
        node_id: int,
        *,
        scope: Scope = Scope.TURN,
        start: int = 0,
        end: int | None = None,
        tier: str = "",
        ask: int | None = None,
    ) -> Iterator[TurnEvent]:
        """Write a reply again at a higher tier (the next one by default), beside the first.

        With ``Scope.SPAN`` the tokens before ``start`` stay, the span is rewritten at ``tier`` and the speaking tier
        goes on after it. ``ask``: the proposal this carries out, for the log.
        """
        reply = self._reply_node(node_id)
        run = partial(self._run, self._state.asked())
        return branches.look_closer(self._desk, self._state, run, reply, scope, (start, end), tier, ask)

    def resume(self, node_id: int) -> Iterator[TurnEvent]:
        """Finish a partial reply (open, stopped or failed); nothing already written is asked for again."""
        stop = self._state.asked()  # before the ladder is waited for
        return self._run(stop, branches.resume_spec(self._desk, self._reply_node(node_id)))

    def continue_from(self, node_id: int, text: str) -> Iterator[TurnEvent]:
        """An edited reply: a version that starts with ``text`` and goes on from there."""
        stop = self._state.asked()
        return self._run(stop, branches.continue_spec(self._desk, self._reply_node(node_id), text))

    def compact(self) -> Iterator[TurnEvent]:
        """Fold the conversation so far into a summary; the person's own messages stay verbatim, nothing is lost."""
        return self._locked(self._state.asked(), compaction.events(self._desk, self._state))

    def cancel(self) -> None:
        """Stop the running turn within one decode step, also inside a prefill, or one whose events nobody read yet."""
        self._state.stop()
        self._desk.engine.cancel()

    # Branches ---------------------------------------------------------------------------------------------------

    def edit(self, node_id: int, text: str) -> Node:
        """A version of a message with other text; the head moves there. After a message of the person: ``reply``."""
        if not text.strip():
            raise TurnError("The message is empty")
        node = self.node(node_id)
        author = "person" if node.role == "user" else "edited"
        with self._desk.tree.transaction():
            new = self._desk.tree.add(
                self.id, node.parent, node.role, text, author=author, model=node.model, tier=node.tier
            )
            self.move_to(new.id)
        return new

    def move_to(self, node_id: int) -> None:
        """Make a node the head: the conversation goes on from there."""
        node = self.node(node_id)
        self._desk.tree.shelf.set_head(self.id, node.id)
        self._state.head = node.id
        self._changed()

    def delete(self, node_id: int) -> None:
        """Hide a message and what follows it; ``undo_delete`` brings it back."""
        node = self.node(node_id)
        on_path = any(n.id == node_id for n in self.path(steps=False))
        with self._desk.tree.transaction():
            self._desk.tree.mark_deleted(node_id, True)
            if on_path:
                self._desk.tree.shelf.set_head(self.id, node.parent)
                self._state.head = node.parent
        self._undo.append(("node", node_id))
        self._changed()

    def undo_delete(self, node_id: int) -> None:
        """Bring a deleted message back and go there."""
        self._desk.tree.mark_deleted(node_id, False)
        self.move_to(node_id)

    def undo(self) -> bool:
        """Take back the last deletion. False when there is none."""
        if not self._undo:
            return False
        what, node_id = self._undo.pop()
        if what == "session":
            self._desk.tree.shelf.set_deleted(self.id, False)
            self._changed()
        else:
            self.undo_delete(node_id)
        return True

    def bookmark(self, node_id: int, label: str) -> None:
        """Name a message so that it is found again; an empty label removes the name."""
        self._desk.tree.bookmark(self.node(node_id).id, label)

    def pick(self, chosen: int, among: Sequence[int], *, blind: bool = False) -> None:
        """Choose one of several continuations: stored as a label, and the head moves to it."""
        branches.pick(self._desk, self._state, self.node(chosen), [self.node(i) for i in among], blind=blind)
        self.move_to(chosen)

    # Closer looks -----------------------------------------------------------------------------------------------

    def forks(self, node_id: int, tier: str = "") -> ForkMap:
        """Where ``tier`` (the highest by default) would have written something else in a reply of this model."""
        reply = self._reply_node(node_id)
        branches.refuse_foreign(self._desk, reply)
        ladder = self._desk.ladder()
        tier = self._desk.usable(ladder, tier) if tier else (ladder.local() or ladder.loaded())[-1]
        tokens = [step.token for step in branches.steps_of(self._desk, reply)]
        against = reply.tier if reply.tier in ladder.loaded() and reply.tier != tier else ""
        return self._desk.engine.score(prompt_before(self._desk, self._state, reply), tokens, tier, against)

    def pending_asks(self) -> list[Ask]:
        """Proposals nobody has answered; unanswered they stay at the low tier."""
        return self._desk.tree.ledger.pending(self.id)

    def answer(
        self,
        ask: Ask,
        choice: Literal["look", "stay", "both", "continuations", "always", "refuse"],
        *,
        reason: str = "",
        n: int = 3,
    ) -> Iterator[TurnEvent]:
        """Answer a proposal; the stream is empty when nothing has to be written."""
        return asks.answer(self._desk, self._state, partial(self._run, self._state.asked()), ask, choice, reason, n)

    def set_policy(
        self, *, mode: Policy | None = None, scope: Scope | None = None, budget: float | None = None
    ) -> None:
        """Change the policy for this conversation; written to its log."""
        wanted: dict[str, object] = {"mode": mode, "scope": scope, "budget": budget}
        changes = {key: value for key, value in wanted.items() if value is not None}
        if budget is not None and not 0 <= budget <= 1:
            raise TurnError("The budget is a share between 0 and 1 (or 0% and 100%)")
        if self.head is not None and changes and not self._desk.tree.read_only:  # first: what fails changes nothing
            text = ", ".join(f"{key} {value}" for key, value in changes.items())
            self._desk.tree.ledger.note(self.id, "setting", text)
        self._state.policy = self._state.policy.model_copy(update=changes)

    def switch_passage(self, uri: str, on: bool) -> None:
        """Leave a source out of the following messages of this conversation, or let it in again."""
        (self._state.passages_off.discard if on else self._state.passages_off.add)(uri)

    # Figures ----------------------------------------------------------------------------------------------------

    def decisions(self) -> list[Decision]:
        """The provenance log, oldest first."""
        return self._desk.tree.ledger.decisions(self.id)

    def spending(self) -> Spending:
        """What was spent at high tiers, against the budget."""
        return self._desk.tree.ledger.spending(self.id, self.policy.budget)

    def speed(self, tier: str) -> Speed:
        """Measured speed of a tier of this model on this machine."""
        return self._desk.speed(tier)

    def meter(self, draft: str = "") -> Meter:
        """How full the context would be with ``draft`` as the next message.

        Estimated while no model is loaded, and inside a loop over a turn, where the engine cannot be asked.
        """
        nodes = self.path(steps=False)
        ladder = self._desk.loaded()
        longest = self._desk.settings.sampling.max_tokens
        if ladder is not None:
            shown = Node(0, self.id, self.head, "user", draft or ".", Status.DONE, "person", 0.0)
            with suppress(EngineBusy):
                packed = pack_prompt(self._desk, self._state, ladder, [*nodes, shown], (), 1)
                return Meter(packed.prompt_tokens, ladder.ctx, min(longest, max(ladder.ctx // 4, 1)), packed.left_out)
        chars = sum(len(node.text) for node in nodes) + len(draft) + len(self._desk.settings.system_prompt)
        ctx = ladder.ctx if ladder else self._desk.settings.engine.ctx or 4096
        return Meter(round(chars / CHARS_PER_TOKEN), ctx, min(longest, max(ctx // 4, 1)), estimated=True)

    def prompt(self) -> list[Message]:
        """Exactly what would be sent: the path to the head with notes and recalled passages."""
        nodes = self.path(steps=False)
        passages = self._desk.tree.passages(nodes[-1].id) if nodes else ()
        return list(pack_prompt(self._desk, self._state, self._desk.ladder(), nodes, passages, 1).messages)

    # The conversation as a whole --------------------------------------------------------------------------------

    def export(self, format: Literal["markdown", "json"] = "markdown") -> str:
        """The conversation as text: ``markdown`` (the path to the head) or ``json`` (every branch)."""
        if format == "json":
            return export.as_json(self._desk.tree, self.id)
        return export.as_markdown(self._desk.tree, self.id, self.path())

    def rename(self, title: str) -> None:
        """Give it a title. Raises TurnError where it is empty."""
        self._must_have_begun()
        self._desk.tree.shelf.rename(self.id, title)
        self._changed()

    def archive(self) -> None:
        """Put it away; it is found again in the archive. Raises TurnError where it is empty."""
        self._must_have_begun()
        self._desk.tree.shelf.set_archived(self.id, True)

    def unarchive(self) -> None:
        """Take it out of the archive."""
        self._desk.tree.shelf.set_archived(self.id, False)

    @property
    def private(self) -> bool:
        """Whether other conversations never recall it."""
        info = self._desk.tree.shelf.info(self.id)
        return info.private if info else False

    def set_private(self, private: bool) -> None:
        """Keep it out of the recall of other conversations, or let it in again. Raises TurnError where it is empty."""
        self._must_have_begun()
        self._desk.tree.shelf.set_private(self.id, private)
        self._changed()

    def delete_session(self) -> None:
        """Delete it; ``undo`` brings it back until the program ends. Raises TurnError where it is empty."""
        self._must_have_begun()
        self._desk.tree.shelf.set_deleted(self.id, True)
        self._changed()
        self._undo.append(("session", 0))

    # Inside -----------------------------------------------------------------------------------------------------

    def _must_have_begun(self) -> None:
        if self._desk.tree.shelf.info(self.id) is None:
            raise TurnError("There is no message in this conversation yet; say something first")

    def _reply_node(self, node_id: int) -> Node:
        node = self.node(node_id)
        if node.role != "assistant" or node.parent is None:
            raise TurnError("That is not a reply")
        return node

    def _turn(self, spec: Spec) -> Iterator[TurnEvent]:
        return self._run(self._state.asked(), spec)

    def _run(self, stop: threading.Event, spec: Spec) -> Iterator[TurnEvent]:
        return self._locked(stop, Turn(self._desk, self._state, spec).events())

    def _locked(self, stop: threading.Event, events: Iterator[TurnEvent]) -> Iterator[TurnEvent]:
        """One turn at a time, from the first event to the last; ``stop`` may be set before the first."""
        if not self._state.writing.acquire(blocking=False):
            raise BusyError("A reply is being written in this conversation; stop it first")
        try:
            self._state.cancelled = stop
            yield from events
        finally:
            self._state.writing.release()
            self._changed()

    def _changed(self) -> None:
        """The memory keeps its copy of past conversations in step; a conversation nobody saves is none of its."""
        if not self._desk.tree.read_only:
            self._desk.memory.conversation_changed(self.id)
