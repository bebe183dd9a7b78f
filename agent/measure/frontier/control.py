"""Why a reply that should be the highest tier's own differs from it: the control run.

Exact speculation reads several tokens in one step where plain writing reads one, and wide steps round differently. The
control has the highest tier read *its own* plain reply again, in steps as wide as those of the differing run and at the
same places. If it then prefers the other reply's token where the two part, with nothing changed but the widths, the
width is what made the difference; if it does not, something else did, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from agent.measure.frontier.policies import Policy
from agent.measure.frontier.trial import Trial, forget
from agent.measure.frontier.wrapped import Wrapped
from backends.ladder import Ladder
from backends.stepper import Feed, Logits, Stepper
from backends.types import Request


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a reply leaves the highest tier's own one."""

    policy: str
    prompt: int
    at: int
    """Tokens the two replies share."""
    margin: float
    """By how much the highest tier prefers its own token there when it reads one token a step, nats (a logit gap)."""
    margin_wide: float
    """The same with the steps of the differing run: negative where that alone turns the choice."""

    @property
    def explained(self) -> bool:
        """Whether the widths of the steps alone make the difference."""
        return self.margin_wide < 0


@dataclass(frozen=True, slots=True)
class _Read:
    start: int
    tokens: int


def explain(ladder: Ladder, policy: Policy, top: str, request: Request, own: Trial, other: Trial) -> Difference | None:
    """Run the control for one prompt; ``None`` where the replies are the same.

    Args:
        ladder: With all tiers.
        policy: What wrote ``other``.
        top: The highest tier.
        request: The order ``other`` was written for; it is carried out once more, to see the widths.
        own: The highest tier's plain reply.
        other: The reply that may differ.
    """
    at = _parting(own.tokens, other.tokens)
    if at is None:
        return None
    stepper = ladder.reader(top).stepper
    prompt = [*stepper.chat_prompt(request.messages), *request.prefix]
    reads = _widths(ladder, policy, top, request)
    mine, theirs = own.tokens[at], other.tokens[at]
    text = [*prompt, *own.tokens]
    ones = [_Read(position, 1) for position in range(len(prompt), len(text))]
    forget(ladder, policy)
    single = _logits_at(stepper, prompt, text, ones, len(prompt) + at)
    wide = _logits_at(stepper, prompt, text, reads, len(prompt) + at)
    return Difference(
        policy.name, own.prompt, at, float(single[mine] - single[theirs]), float(wide[mine] - wide[theirs])
    )


def _parting(own: Sequence[int], other: Sequence[int]) -> int | None:
    for at, (a, b) in enumerate(zip(own, other, strict=False)):
        if a != b:
            return at
    return None


def _widths(ladder: Ladder, policy: Policy, top: str, request: Request) -> list[_Read]:
    """Carry out the request again; where and how wide the highest tier's steps are after the prompt."""
    reader = ladder.reader(top)
    watched = _Watched(reader.stepper)
    forget(ladder, policy)
    reader.stepper = cast("Stepper", watched)
    try:
        ladder.run(request, lambda event: None)
    finally:
        reader.stepper = watched.inner
    return watched.reads


class _Watched(Wrapped):
    """Remembers its steps (not its prefills)."""

    def __init__(self, inner: Stepper) -> None:
        super().__init__(inner)
        self.reads: list[_Read] = []

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        self.reads += [_Read(self.inner.length(feed.seq), len(feed.tokens)) for feed in feeds]
        return self.inner.step(feeds)


def _logits_at(
    stepper: Stepper, prompt: Sequence[int], text: Sequence[int], reads: Sequence[_Read], position: int
) -> Logits:
    """Logits for ``position`` of ``text``, read after ``prompt`` in the given steps."""
    seq = stepper.open()
    try:
        logits = stepper.prefill(seq, prompt).copy()
        for read in reads:
            if read.start >= position:
                break
            stepper.truncate(seq, read.start)
            # Wide steps also held tokens that were rejected; as many of the text's own stand in for them.
            tokens = [*text[read.start : read.start + read.tokens]]
            tokens += [text[-1]] * (read.tokens - len(tokens))
            rows = stepper.step([Feed(seq, tokens, len(tokens))])[0]
            if read.start + read.tokens >= position:
                logits = rows[position - 1 - read.start].copy()
        return logits
    finally:
        stepper.drop(seq)
