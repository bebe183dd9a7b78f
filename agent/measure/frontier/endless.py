"""A Stepper whose texts never end: its logits of every ending token are minus infinity.

Replies of a small model end after twenty tokens, and comparisons need more. Forbidding the end at every tier keeps the
comparison fair: each writes, and judges, as if those tokens did not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from agent.measure.frontier.wrapped import Wrapped
from backends.ladder import Opener
from backends.stepper import Feed, Logits, Progress, Stepper
from backends.types import LadderSpec, TierSpec


def endless(opener: Opener) -> Opener:
    """An opener whose Steppers never end a text."""

    def opened(tier: TierSpec, ladder: LadderSpec) -> Stepper:
        return cast("Stepper", Endless(opener(tier, ladder)))

    return opened


class Endless(Wrapped):
    """The Stepper inside, but for the logits of tokens that end a text."""

    def __init__(self, inner: Stepper) -> None:
        super().__init__(inner)
        self._ends = np.asarray([token for token in range(inner.facts.n_vocab) if inner.is_end(token)], np.intp)

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        """Logits without ends."""
        return self._without_ends(self.inner.prefill(seq, tokens, progress))

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """Logits without ends."""
        return [self._without_ends(rows) for rows in self.inner.step(feeds)]

    def _without_ends(self, rows: Logits) -> Logits:
        rows[..., self._ends] = -np.inf
        return rows
