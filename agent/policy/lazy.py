"""The overseer, imported when the first turn needs it: numpy has no part in opening the program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from agent.oversight import Overseer, Plan, Situation
from agent.values import Ask, Node
from backends.types import Message


class LazyOverseer:
    """``agent.policy.overseer.BudgetOverseer``, made on first use. See ``agent.oversight.Overseer``."""

    def __init__(self, calibration: Path | None, cache: Path) -> None:
        self._calibration, self._cache = calibration, cache

    @cached_property
    def _real(self) -> Overseer:
        from agent.policy.overseer import BudgetOverseer

        return BudgetOverseer(self._calibration, self._cache)

    def plan(self, situation: Situation, messages: Sequence[Message]) -> Plan:
        """How to write the reply."""
        return self._real.plan(situation, messages)

    def closer(self, situation: Situation, tier: str) -> Plan:
        """How to write a whole reply at ``tier``."""
        return self._real.closer(situation, tier)

    def review(self, situation: Situation, reply: Node) -> Ask | None:
        """The closer look to propose."""
        return self._real.review(situation, reply)

    def learn(self, situation: Situation, reply: Node) -> None:
        """A reply was written."""
        self._real.learn(situation, reply)

    def notices(self) -> list[str]:
        """Lines to say once."""
        return self._real.notices()
