"""About how many tokens a message adds to a prompt, asked once for each text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from backends.types import Message

MOST = 100_000
"""Texts whose length is kept (about 10 MB)."""
PROBE = "."


class Lengths:
    """Tokens of single messages in one model's template, with what the template puts around them.

    An estimate: at the seams, and for roles with more around them than a message of the person, a prompt has a few
    tokens more or less than its messages.
    """

    def __init__(self, count: Callable[[Sequence[Message]], int]) -> None:
        self._count = count
        self._known: dict[bytes, int] = {}
        self._outside: int | None = None

    def of(self, text: str) -> int:
        """Tokens that a message with this text adds."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            # As a message of the person: templates refuse a conversation that begins with a reply.
            self._known[key] = max(self._count((Message("user", text),)) - self._around(), 0)
        return self._known[key]

    def _around(self) -> int:
        """Tokens of a prompt outside of its messages: its beginning, and where the reply is to start."""
        if self._outside is None:
            one = self._count((Message("user", PROBE),))
            three = self._count((Message("user", PROBE), Message("assistant", PROBE), Message("user", PROBE)))
            self._outside = max(one - (three - one) // 2, 0)
        return self._outside
