"""Prompt lookup: a draft for free where the text repeats what is already in the context (Saxena 2023).

When a reply quotes a retrieved passage, the next tokens stand in the prompt. No engine is asked for such a draft; the
high tier verifies it like any other.
"""

from __future__ import annotations

from collections.abc import Sequence


class Lookup:
    """Drafts from repeated n-grams, with a pause after failures so that wrong drafts stay cheap.

    The index maps the last ``n`` tokens to the position after their latest earlier occurrence and grows with the text,
    so a lookup costs one dictionary access.
    """

    def __init__(self, context: Sequence[int], n: int = 3, longest: int = 24) -> None:
        self._n, self._longest = n, longest
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._pause = 0
        self._failures = 0
        self.extend(context)

    def extend(self, tokens: Sequence[int]) -> None:
        """Take note of accepted tokens."""
        for token in tokens:
            if len(self._tokens) >= self._n:
                self._after[tuple(self._tokens[-self._n :])] = len(self._tokens)
            self._tokens.append(token)

    def draft(self) -> list[int]:
        """Tokens that followed the current n-gram last time; empty when it is new or lookups pause."""
        if self._pause > 0:
            self._pause -= 1
            return []
        at = self._after.get(tuple(self._tokens[-self._n :]))
        return self._tokens[at : at + self._longest] if at is not None else []

    def judge(self, drafted: int, accepted: int) -> None:
        """Learn how a draft fared: after failures in a row the pause doubles (up to 64 tokens of silence)."""
        if accepted * 2 >= drafted:
            self._failures = 0
            return
        self._failures = min(self._failures + 1, 6)
        self._pause = 2**self._failures
