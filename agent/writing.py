"""Writing replies: jobs go to the engine, tokens come back, everything is committed on the way.

A job fills one node (or ``n`` nodes at once) in one or more stages; a later stage goes on from the tokens of the
earlier one, which is how a span is rewritten at a high tier and continued at the speaking one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TypeVar

from agent.checkpoints import Checkpoints
from agent.events import Reading, Said, TurnEvent, Wrote
from agent.oversight import Plan
from agent.tree import Tree
from agent.values import Node, Status
from backends.engine import Engine
from backends.types import Done, Event, Failed, Message, Notice, Prefill, Request, Sampling, Step, Timing, Usage, Why

T = TypeVar("T")
EDITED = "edited"
"""The tier named in the steps of text a person wrote into a reply."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One request: how it is written and at most how much."""

    plan: Plan
    max_tokens: int


@dataclass(slots=True)
class Draft:
    """One reply being written into its node."""

    node: int
    steps: list[Step]
    kept: int
    """Tokens at the start that were there before (a resumed or edited reply, the part before a span)."""
    uncounted: int
    """Tokens at the start that are counted already as spent, or that cost nothing."""
    usage: Usage | None = None
    """What earlier runs of a resumed reply used; this one's is added."""
    timing: Timing | None = None
    """What they took."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(step.text for step in self.steps)


@dataclass(slots=True)
class Job:
    """Drafts that are written together from one prompt."""

    drafts: list[Draft]
    stages: Sequence[Stage]
    first: int = 0
    """Number of the first draft among all continuations of the turn."""
    usage: Usage | None = None
    timing: Timing | None = None
    reason: str = ""
    problem: str = ""
    committed: bool = False


@dataclass(slots=True)
class Writing:
    """Runs the jobs of one turn and commits what they write."""

    tree: Tree
    engine: Engine
    messages: tuple[Message, ...]
    sampling: Sampling
    session: str
    spoken: Collection[str]
    """The tiers whose own tokens are no closer look."""
    cancelled: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    finished: list[Node] = field(default_factory=list)
    """Committed replies, also partial ones; filled by ``run`` and ``abandon``."""
    problem: str = ""
    stopped: bool = False
    fell_back: bool = False
    """A tier was lost on the way: the reply was written plainly although another decoder was asked for."""
    _checkpoints: Checkpoints = field(init=False)

    def __post_init__(self) -> None:
        self._checkpoints = Checkpoints(self.tree, self.clock)

    def run(self, jobs: Sequence[Job]) -> Iterator[TurnEvent]:
        """Write all jobs one after the other; stops at the first one that fails or is cancelled."""
        for job in jobs:
            for stage in job.stages:
                yield from self._stage(job, stage)
                if job.problem or job.reason != "length":
                    break
            self._finish(job)
            self.problem = job.problem
            self.stopped = job.reason == "cancelled"
            if self.problem or self.stopped:
                return

    def abandon(self, jobs: Sequence[Job]) -> None:
        """Commit what unfinished jobs have so far as stopped (the listener went away, or a job before them ended)."""
        for job in jobs:
            if not job.committed:
                job.problem, job.reason = "", "cancelled"
                self._finish(job)

    def _stage(self, job: Job, stage: Stage) -> Iterator[TurnEvent]:
        plan = stage.plan
        if self.cancelled():
            job.reason = "cancelled"
            return
        request = Request(
            messages=self.messages,
            tier=plan.tier,
            decoder=plan.decoder,
            high=plan.high,
            prefix=tuple(step.token for step in job.drafts[0].steps),
            sampling=self.sampling,
            max_tokens=max(stage.max_tokens, 1),
            n=len(job.drafts),
            gate=plan.gate,
            read_high=plan.read_high,
            session=self.session,
        )
        job.problem, job.reason = "The engine ended the reply without saying why", ""
        with listening(self.engine.run(request)) as events:
            for event in events:
                if self.cancelled():
                    self.engine.cancel()  # again: the first one may have come just before the request began
                yield from self._take(job, plan, event)

    def _take(self, job: Job, plan: Plan, event: Event) -> Iterator[TurnEvent]:
        if isinstance(event, Step):
            draft = job.drafts[min(event.seq, len(job.drafts) - 1)]
            step = replace(event, seq=job.first + event.seq) if job.first else event
            self._checkpoints.add(draft, step)
            yield Wrote(step)
        elif isinstance(event, Prefill):
            yield Reading(event.done, event.total, event.cached)
        elif isinstance(event, Notice):
            yield Said(event.text)
        elif isinstance(event, Done):
            job.problem, job.reason = "", event.reason
            job.usage, job.timing = _together(job.usage, event.usage), _and(job.timing, event.timing)
            # A model that cannot take drafts back writes plainly too, but at the tier that was asked for.
            below = any(step.tier != plan.high for draft in job.drafts for step in draft.steps[draft.kept :])
            self.fell_back = self.fell_back or (event.decoder is not plan.decoder and below)
        elif isinstance(event, Failed):
            job.problem = event.text

    def _finish(self, job: Job) -> None:
        status = Status.FAILED if job.problem else Status.STOPPED if job.reason in ("cancelled", "") else Status.DONE
        with self._checkpoints.finishing(), self.tree.transaction():
            for draft in job.drafts:
                if status is not Status.DONE and not draft.text:
                    self.tree.set_status(draft.node, status)
                    self.tree.mark_deleted(draft.node, True)
                    continue
                new = draft.steps[draft.uncounted :]
                # The tokens beside the time of this run: a speed is read from the pair.
                wrote = len(draft.steps) - draft.kept
                usage = replace(job.usage, completion_tokens=wrote) if job.usage else None
                low = {*self.spoken, EDITED}
                high = sum(1 for step in new if step.tier not in low or step.why is not Why.SPOKE)
                if other := _stood_in(job, draft):
                    self.tree.set_tier(draft.node, other)
                self.finished.append(
                    self.tree.finish(
                        draft.node,
                        draft.text,
                        draft.steps,
                        status,
                        usage=_added(draft.usage, usage),
                        timing=draft.timing if job.timing is None else _and(draft.timing, job.timing),
                        high_tokens=high,
                        all_tokens=len(new),
                    )
                )
        job.committed = True


@contextlib.contextmanager
def listening(events: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close a stream at once when its listener goes away: a request is cancelled then, not some time later."""
    try:
        yield events
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _stood_in(job: Job, draft: Draft) -> str:
    """The tier that wrote in place of those that were to (a server did not answer); empty when none did."""
    planned = {tier for stage in job.stages for tier in (stage.plan.tier, stage.plan.high)}
    wrote = {step.tier for step in draft.steps[draft.kept :]}
    return "" if wrote & planned else next(iter(wrote), "")


def _together(first: Usage | None, second: Usage) -> Usage:
    if first is None:
        return second
    return Usage(
        first.prompt_tokens,
        first.cached_tokens,
        first.completion_tokens + second.completion_tokens,
        first.high_tokens + second.high_tokens,
        first.high_steps + second.high_steps,
    )


def _added(first: Usage | None, second: Usage | None) -> Usage | None:
    """What two requests used, each with a prompt of its own."""
    if first is None or second is None:
        return second or first
    return Usage(*(one + other for one, other in zip(astuple(first), astuple(second), strict=True)))


def _and(first: Timing | None, second: Timing) -> Timing:
    return second if first is None else first + second
