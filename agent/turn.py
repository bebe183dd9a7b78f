"""One turn: recall, pack, commit the question, write, commit the replies, propose a closer look.

    recall (beside the prefill of the history) -> pack -> commit -> Started -> write ... -> Asked? -> Finished | Stopped

Nothing is written to the tree before the prompt is known to fit; from then on everything is committed before it is
told. One exception: where a model has to be loaded first, the question is committed before that, since loading takes
long enough for a person to lose patience and the program; it is taken back where the turn is refused after all.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from agent import roles
from agent.context import Packed
from agent.desk import Desk, State
from agent.errors import ReadOnlyError, StorageError, TurnError
from agent.events import Asked, Finished, Said, Started, Stopped, TurnEvent
from agent.oversight import Plan
from agent.prompt import left_out, pack_prompt
from agent.recall import NullMemory, Recalling
from agent.values import Node, Passage, Status
from agent.writing import Draft, Job, Stage, Writing, listening
from backends.types import Decoder, LadderStatus, Prefill, Request, Sampling, Step

VARIED = 0.7
"""Temperature of several continuations where the settings say 0."""
SOON_S = 0.02
"""A recall that needs no longer than this is not worth an extra request."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a turn shall do."""

    parent: int | None
    """The node the question goes below; without a question, the message of the person that is answered."""
    question: str | None = None
    tier: str = ""
    n: int = 1
    tiers: Sequence[str] = ()
    stages: Sequence[Stage] = ()
    """How to write instead of what the overseer plans (a closer look, a repaired span)."""
    kept: Sequence[Step] = ()
    """Tokens the reply begins with."""
    resume: int | None = None
    """The partial reply to go on with, instead of a new one."""
    author: str = ""
    passages_off: Collection[str] = ()
    recall: bool = True
    """False: the passages that were recalled for the message before are used again."""
    review: bool = True
    move_head: bool = True
    decision: int | None = None
    """The line of the log that gets the real cost."""
    log: str = ""
    """What the log shall say of the new reply."""


@dataclass(slots=True)
class Turn:
    """Runs one Spec. ``events`` is a generator; closing it early keeps what was written as a stopped reply."""

    desk: Desk
    state: State
    spec: Spec
    said: list[str] = field(default_factory=list)
    planned: int | None = None
    """The line of the log about what the overseer decided; gets the real cost."""
    before: int | None = None
    """The head before the turn."""
    asked: Node | None = None
    """The question, where it was committed before the model was loaded."""

    def events(self) -> Iterator[TurnEvent]:
        """See the module."""
        if self.desk.tree.read_only:
            raise ReadOnlyError(f"Nothing can be saved: {self.desk.tree.why_read_only}")
        began = time.monotonic()
        self.before = self.state.head
        try:
            ladder, tier = self._load()
            nodes = self._nodes()
            passages = self._passages(nodes, tier)
            packed = pack_prompt(self.desk, self.state, ladder, nodes, passages, self._parallel())
            plans = self._plans(ladder, tier, packed)
            self.said += self.desk.overseer.notices()
            user, jobs = self._commit(nodes, passages, plans, ladder, packed)
        except Exception:
            self._take_back()
            raise
        # The stand-in of a new question had no id yet.
        self.state.window, self.state.warm = packed.window or user.id, True
        writing = Writing(
            tree=self.desk.tree,
            engine=self.desk.engine,
            messages=packed.messages,
            sampling=self._sampling(user),
            session=self.state.id,
            spoken=roles.spoken(ladder, tier),
            cancelled=self.state.cancelled.is_set,
        )
        try:
            yield Started(user, packed.prompt_tokens, packed.left_out, passages)
            yield from map(Said, [*self.said, *left_out(packed)])
            with listening(writing.run(jobs)) as run:
                yield from run
        except StorageError as error:
            self.state.head = user.id
            yield Stopped(tuple(writing.finished), f"The reply could not be saved: {error}")
            return
        finally:
            self._keep(writing, jobs)
        yield from self._conclude(writing, user, plans, packed, ladder, time.monotonic() - began)

    # Before -----------------------------------------------------------------------------------------------------

    def _load(self) -> tuple[LadderStatus, str]:
        """The ladder and the tier that speaks. A question is saved before it has to wait for a model."""
        fresh = self.desk.loaded() is None
        if fresh and self.spec.question is not None:
            with self.desk.tree.transaction():
                self.asked = self._ask(self.spec.question)
                self.desk.tree.shelf.set_head(self.state.id, self.asked.id)
        ladder = self.desk.ladder()
        if fresh:
            self.said += ladder.notices
        return ladder, self._speaking(ladder)

    def _take_back(self) -> None:
        """The turn is refused: its question is the person's again, who has it still. After a stop it stays said."""
        if self.asked is None:
            return
        if self.state.cancelled.is_set():
            self.state.head = self.asked.id
            return
        try:
            self.desk.tree.take_back(self.asked, self.before)
        except StorageError:  # then it stays, as a message without a reply
            self.state.head = self.asked.id

    def _speaking(self, ladder: LadderStatus) -> str:
        for tier in (*self.spec.tiers, *([self.spec.tier] if self.spec.tier else [])):
            self.desk.usable(ladder, tier)
        if self.spec.n > 1 and self.spec.n > self.desk.settings.engine.n_parallel:
            raise TurnError(
                f"At most {self.desk.settings.engine.n_parallel} continuations at once (engine.n_parallel), "
                f"not {self.spec.n}"
            )
        return self.desk.speaking_tier(ladder)

    def _sampling(self, user: Node) -> Sampling:
        """How tokens are drawn: continuations and new versions differ, also greedily or with a fixed seed."""
        sampling = self.desk.sampling()
        if self.spec.n > 1 and sampling.temperature == 0:
            self.said.append(f"At temperature 0 all continuations would be the same; {VARIED} is used for them")
            return replace(sampling, temperature=VARIED)
        again = self.spec.question is None and not self.spec.stages and not self.spec.kept
        if again and self.desk.settings.sampling.seed >= 0:
            versions = len(self.desk.tree.children(self.state.id, user.id)) - self._parallel()
            return replace(sampling, seed=sampling.seed + max(versions, 0))
        return sampling

    def _parallel(self) -> int:
        return max(self.spec.n, 1)

    def _nodes(self) -> list[Node]:
        """The path, with a stand-in for a question that is not committed yet."""
        nodes = self.desk.tree.path(self.spec.parent, steps=False)
        if self.spec.question is None:
            if not nodes or nodes[-1].role != "user":
                raise TurnError("There is no message of yours to reply to")
            return nodes
        if self.asked is not None:
            return [*nodes, self.asked]
        asked = Node(0, self.state.id, self.spec.parent, "user", self.spec.question, Status.DONE, "person", time.time())
        return [*nodes, asked]

    def _passages(self, nodes: Sequence[Node], tier: str) -> tuple[Passage, ...]:
        off = self.state.passages_off | set(self.spec.passages_off)
        memory = self.desk.settings.memory
        found: Sequence[Passage] = ()
        if not self.spec.recall or self.spec.question is None:
            found = self.desk.tree.passages(nodes[-1].id)
        elif memory.recall and memory.passages and type(self.desk.memory) is not NullMemory:
            history = [node.text for node in nodes[:-1] if node.role == "user"][-4:]
            began = time.monotonic()
            recalling = Recalling(
                self.desk.memory, nodes[-1].text, history, memory.budget_tokens, memory.deadline_s, self.state.id
            )
            if not recalling.done_within(SOON_S):
                self._warm_up(nodes[:-1], tier)
            found, lines = recalling.result(time.monotonic() - began)
            self.said += lines
        return tuple(replace(p, enabled=p.uri not in off) for p in found[: memory.passages])

    def _warm_up(self, history: Sequence[Node], tier: str) -> None:
        """Let the engine read the conversation so far while the memory is searched: it is the prompt's prefix anyway.

        Only once in a process; later turns find their prefix cached.
        """
        if self.state.warm or not history or history[-1].role != "assistant":
            return
        ladder = self.desk.ladder()
        packed = pack_prompt(self.desk, self.state, ladder, history, (), 1)
        request = Request(packed.messages, tier, max_tokens=1, session=self.state.id)
        with listening(self.desk.engine.run(request)) as events:
            for event in events:
                if self.state.cancelled.is_set():
                    self.desk.engine.cancel()
                if not isinstance(event, Prefill):
                    break

    def _plans(self, ladder: LadderStatus, tier: str, packed: Packed) -> list[Sequence[Stage]]:
        """The stages of each job."""
        spec, longest = self.spec, self.desk.settings.sampling.max_tokens
        room = max(ladder.ctx - packed.prompt_tokens - len(spec.kept), 1)
        longest = min(max(longest - len(spec.kept), 1), room)
        if spec.stages:
            return [[replace(s, max_tokens=min(s.max_tokens, room)) for s in spec.stages]]
        situation = self.desk.situation(self.state, ladder, tier, packed.prompt_tokens)
        if spec.tiers:
            return [[Stage(self._at(name, tier, ladder, packed), longest)] for name in spec.tiers]
        if spec.tier:
            plan = self._at(spec.tier, tier, ladder, packed)
        else:
            plan = self.desk.overseer.plan(situation, packed.messages)
        if spec.n > 1:  # continuations share one prefix in one batch; only the plain decoder does that
            plan = Plan(plan.tier)
        return [[Stage(plan, longest)]]

    def _at(self, wanted: str, speaking: str, ladder: LadderStatus, packed: Packed) -> Plan:
        loaded = ladder.loaded()
        if loaded.index(wanted) <= loaded.index(speaking):
            return Plan(wanted)
        return self.desk.overseer.closer(
            self.desk.situation(self.state, ladder, speaking, packed.prompt_tokens), wanted
        )

    # Commit -----------------------------------------------------------------------------------------------------

    def _commit(
        self,
        nodes: Sequence[Node],
        passages: tuple[Passage, ...],
        plans: Sequence[Sequence[Stage]],
        ladder: LadderStatus,
        packed: Packed,
    ) -> tuple[Node, list[Job]]:
        """The question and one open node per reply, in one transaction."""
        tree, spec = self.desk.tree, self.spec
        jobs: list[Job] = []
        with tree.transaction():
            user = nodes[-1]
            if spec.question is not None:
                user = self.asked or self._ask(spec.question)
                tree.set_passages(user.id, passages)
            for stages in plans:
                drafts = [self._open(user, stages) for _ in range(self._parallel())]
                jobs.append(Job(drafts, stages, first=sum(len(job.drafts) for job in jobs)))
            if spec.move_head:
                tree.shelf.set_head(self.state.id, jobs[0].drafts[0].node)
            if spec.log:
                tree.ledger.note(self.state.id, "manual", spec.log, node=jobs[0].drafts[0].node)
            situation = self.desk.situation(self.state, ladder, plans[0][0].plan.tier, packed.prompt_tokens)
            for stages in plans:
                if stages[0].plan.why and situation.high:
                    plan = stages[0].plan
                    self.planned = tree.ledger.note(
                        self.state.id, "auto", plan.why, node=jobs[0].drafts[0].node, predicted_s=plan.predicted_s
                    )
        if spec.move_head:
            self.state.head = jobs[0].drafts[0].node
        return user, jobs

    def _ask(self, question: str) -> Node:
        return self.desk.tree.add(self.state.id, self.spec.parent, "user", question, author="person")

    def _open(self, user: Node, stages: Sequence[Stage]) -> Draft:
        tree, spec = self.desk.tree, self.spec
        if spec.resume is not None:
            tree.set_status(spec.resume, Status.OPEN)
            old = tree.node(spec.resume)
            # uncounted=0: what the kill left uncounted is counted when the reply is finished.
            return Draft(
                spec.resume,
                list(spec.kept),
                kept=len(spec.kept),
                uncounted=0,
                usage=old.usage,
                timing=old.timing,
            )
        plan = stages[0].plan
        # A verified reply is the high tier's text, whoever drafted it.
        verified = plan.decoder is Decoder.SPECULATIVE
        tier = plan.high if plan.high and (verified or len(stages) > 1) else plan.tier
        node = tree.add(
            self.state.id,
            user.id,
            "assistant",
            "".join(step.text for step in spec.kept),
            author=spec.author or tier,
            status=Status.OPEN,
            model=self.desk.model,
            tier=tier,
            steps=spec.kept,
        )
        return Draft(node.id, list(spec.kept), kept=len(spec.kept), uncounted=len(spec.kept))

    # After ------------------------------------------------------------------------------------------------------

    def _keep(self, writing: Writing, jobs: Sequence[Job]) -> None:
        """Whatever happened, commit what there is and put the head on something that exists."""
        try:
            writing.abandon(jobs)
            if self.spec.move_head and jobs:
                kept = {node.id for node in writing.finished}
                node = jobs[0].drafts[0].node
                if node not in kept:
                    # Another version that came to nothing leaves the conversation where it was.
                    none = self.desk.tree.node(node).parent if self.spec.question is not None else self.before
                    self.state.head = next(iter(sorted(kept)), none)
                    self.desk.tree.shelf.set_head(self.state.id, self.state.head)
        except StorageError as error:
            writing.problem = writing.problem or f"The reply could not be saved: {error}"

    def _conclude(
        self,
        writing: Writing,
        user: Node,
        plans: Sequence[Sequence[Stage]],
        packed: Packed,
        ladder: LadderStatus,
        seconds: float,
    ) -> Iterator[TurnEvent]:
        tree, replies = self.desk.tree, tuple(writing.finished)
        if self.spec.decision is not None:
            tree.ledger.set_actual(self.spec.decision, seconds)
        if self.planned is not None and replies and replies[0].timing is not None:
            tree.ledger.set_actual(self.planned, replies[0].timing.decode_s)
        if writing.fell_back and replies:
            text = "a tier was lost while the reply was written; it was finished without closer looks"
            tree.ledger.note(self.state.id, "lost-tier", text, node=replies[0].id)
        if writing.problem or writing.stopped:
            yield Stopped(replies, writing.problem)
            return
        situation = self.desk.situation(self.state, ladder, replies[0].tier, packed.prompt_tokens)
        for reply in replies:
            self.desk.overseer.learn(situation, reply)
        if self.spec.review and len(replies) == 1:
            proposal = self.desk.overseer.review(situation, replies[0])
            if proposal is not None:
                ask = tree.ledger.add_ask(self.state.id, proposal)
                tree.ledger.note(
                    self.state.id,
                    "asked",
                    f"{ask.tier}, {ask.scope}: {ask.why}",
                    node=ask.node,
                    predicted_s=ask.seconds,
                )
                yield Asked(ask)
        yield Finished(replies)
