"""A Stepper whose texts never end: its logits of every ending token are minus infinity.

Replies of a small model end after twenty tokens, and comparisons need more. Forbidding the end at every tier keeps the
comparison fair: each writes, and judges, as if those tokens did not exist.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backends.ladder import Opener
from backends.stepper import Feed, Logits, ModelFacts, Progress, Stepper
from backends.types import LadderSpec, Message, TierSpec


def endless(opener: Opener) -> Opener:
    """An opener whose Steppers never end a text."""

    def opened(tier: TierSpec, ladder: LadderSpec) -> Stepper:
        return Endless(opener(tier, ladder))

    return opened


class Endless:
    """See ``backends.stepper.Stepper``; everything but the logits is the wrapped Stepper's."""

    def __init__(self, stepper: Stepper) -> None:
        self._inner = stepper
        vocabulary = range(stepper.facts.n_vocab)
        self._ends = np.asarray([token for token in vocabulary if stepper.is_end(token)], np.intp)

    @property
    def facts(self) -> ModelFacts:
        """Of the wrapped Stepper."""
        return self._inner.facts

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        """Logits without ends."""
        return self._without_ends(self._inner.prefill(seq, tokens, progress))

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """Logits without ends."""
        return [self._without_ends(rows) for rows in self._inner.step(feeds)]

    def _without_ends(self, rows: Logits) -> Logits:
        rows[..., self._ends] = -np.inf
        return rows

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Of the wrapped Stepper, as is all that follows."""
        return self._inner.tokenize(text, special=special)

    def piece(self, token: int) -> bytes:  # noqa: D102
        return self._inner.piece(token)

    def is_end(self, token: int) -> bool:  # noqa: D102
        return self._inner.is_end(token)

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:  # noqa: D102
        return self._inner.chat_prompt(messages)

    def open(self) -> int:  # noqa: D102
        return self._inner.open()

    def fork(self, seq: int) -> int:  # noqa: D102
        return self._inner.fork(seq)

    def drop(self, seq: int) -> None:  # noqa: D102
        self._inner.drop(seq)

    def length(self, seq: int) -> int:  # noqa: D102
        return self._inner.length(seq)

    def truncate(self, seq: int, length: int) -> None:  # noqa: D102
        self._inner.truncate(seq, length)

    def export_cache(self, seq: int) -> bytes:  # noqa: D102
        return self._inner.export_cache(seq)

    def import_cache(self, seq: int, blob: bytes, length: int) -> None:  # noqa: D102
        self._inner.import_cache(seq, blob, length)

    def cancel(self) -> None:  # noqa: D102
        self._inner.cancel()

    def resume(self) -> None:  # noqa: D102
        self._inner.resume()

    def close(self) -> None:  # noqa: D102
        self._inner.close()
