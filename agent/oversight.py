"""Where policies plug in: who decides how a reply is written, and whether a closer look is proposed afterwards.

``Overseer`` is the port. ``DefaultOverseer`` is the plain rule for uncalibrated models: density from the margin alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.settings import PolicySettings
from agent.values import Ask, Node, Policy, Scope, Speed, Spending
from backends.types import Decoder, Gate, LadderStatus, Message, Step


@dataclass(frozen=True, slots=True)
class Situation:
    """What an overseer may look at. All figures are of this machine and this conversation."""

    policy: PolicySettings
    """With the changes made in this conversation (`/policy`, `/budget`, "always")."""
    ladder: LadderStatus
    model: str
    tier: str
    """The tier that speaks."""
    high: str
    """The tier a closer look would use; empty when there is none above the speaking one."""
    spending: Spending
    speed: Callable[[str], Speed]
    """Tier name to its measured speed."""
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How one reply is written."""

    tier: str
    decoder: Decoder = Decoder.PLAIN
    high: str = ""
    gate: Gate = field(default_factory=Gate)
    read_high: bool | None = None
    why: str = ""
    """Logged as an ``auto`` decision when not empty."""
    predicted_s: float | None = None


class Overseer(Protocol):
    """Decides closer looks."""

    def plan(self, situation: Situation, messages: Sequence[Message]) -> Plan:
        """How to write the reply to ``messages``."""

    def closer(self, situation: Situation, tier: str) -> Plan:
        """How to write a whole reply at ``tier`` (plainly, or by exact speculation where that is faster)."""

    def review(self, situation: Situation, reply: Node) -> Ask | None:
        """The closer look to propose for a finished reply (its ``id`` is not used), or ``None``."""

    def learn(self, situation: Situation, reply: Node) -> None:
        """A reply was written: adjust whatever keeps the spending near the budget."""

    def notices(self) -> list[str]:
        """Lines the person should see once (a calibration that cannot be used); reading them forgets them."""


class DefaultOverseer:
    """The documented rule without calibration."""

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate or Gate()

    def plan(self, situation: Situation, messages: Sequence[Message]) -> Plan:
        """Plain, except in ``auto`` with a higher tier at hand and budget left: gated, or exact when so set."""
        wanted = situation.policy.mode is Policy.AUTO and situation.high and situation.policy.budget > 0
        if not wanted or situation.spending.share > situation.policy.budget:
            return Plan(situation.tier)
        decoder = Decoder.SPECULATIVE if situation.policy.faithful else Decoder.GATED
        return Plan(situation.tier, decoder, situation.high, self._gate)

    def closer(self, situation: Situation, tier: str) -> Plan:
        """Plainly at the tier."""
        return Plan(tier)

    def review(self, situation: Situation, reply: Node) -> Ask | None:
        """In ``ask``: propose a closer look when tokens were nearly tied."""
        if situation.policy.mode is not Policy.ASK or not situation.high or not reply.steps:
            return None
        doubtful = [at for at, step in enumerate(reply.steps) if step.density >= self._gate.threshold]
        if not doubtful or situation.spending.share > situation.policy.budget:
            return None
        span = situation.policy.scope is Scope.SPAN
        start, end = (doubtful[0], len(reply.steps)) if span else (0, len(reply.steps))
        first = reply.steps[doubtful[0]]
        more = f" and {len(doubtful) - 1} more" if len(doubtful) > 1 else ""
        return Ask(
            id=0,
            node=reply.id,
            scope=situation.policy.scope,
            tier=situation.high,
            why=f"two words were nearly tied at {_shown(first)}{more}",
            start=start,
            end=end,
            seconds=predicted_seconds(situation, situation.high, end - start, start),
            memory=next((t.bytes for t in situation.ladder.tiers if t.name == situation.high and not t.loaded), 0),
            spent=situation.spending.share,
            budget=situation.policy.budget,
        )

    def learn(self, situation: Situation, reply: Node) -> None:
        """The default rule learns nothing."""

    def notices(self) -> list[str]:
        """The default rule has nothing to say."""
        return []


def predicted_seconds(situation: Situation, tier: str, write: int, read: int = 0) -> float:
    """Seconds to read the prompt and ``read`` tokens and to write ``write`` tokens at ``tier``.

    Where the tier was never measured, the speaking tier's speed is scaled by the sizes of the files, because decoding
    is bound by memory bandwidth. 0 when nothing was measured at all.
    """
    speed, base = situation.speed(tier), situation.speed(situation.tier)
    size = {t.name: t.bytes for t in situation.ladder.tiers}
    ratio = size.get(tier, 0) / size[situation.tier] if size.get(situation.tier) else 1.0
    decode = speed.decode_tok_s or base.decode_tok_s / max(ratio, 1.0)
    prefill = speed.prefill_tok_s or base.prefill_tok_s
    seconds = write / decode if decode else 0.0
    return seconds + ((situation.prompt_tokens + read) / prefill if prefill else 0.0)


def _shown(step: Step) -> str:
    return f"“{step.text.strip()}”" if step.text.strip() else repr(step.text)
