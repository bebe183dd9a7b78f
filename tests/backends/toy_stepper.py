"""A Stepper whose model is a table: small vocabulary, exact distributions, no native code.

The logits after a text depend only on its last ``order`` tokens, so the true distribution of any sampled text can be
written down and compared with what a decoder draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backends.errors import BackendError, CacheError, Cancelled, ContextFull
from backends.stepper import Feed, Logits, ModelFacts, Progress
from backends.types import Message

END = 0
"""The token that ends a reply."""


class ToyStepper:
    """``vocab`` tokens; token ``i`` is the letter ``chr(97 + i)``. Two tiers share ``seed`` and differ by ``noise``."""

    def __init__(
        self, *, vocab: int = 8, seed: int = 0, noise: float = 0.0, tier_seed: int = 1, ctx: int = 512, order: int = 2,
        spread: float = 1.5, end_bias: float = -4.0, can_truncate: bool = True, cache_key: str = "toy",
    ) -> None:  # fmt: skip
        base = np.random.default_rng(seed).normal(size=(vocab,) * (order + 1)) * spread
        base[..., END] += end_bias
        self.table = base + np.random.default_rng(tier_seed).normal(size=base.shape) * noise
        self._order, self._vocab = order, vocab
        self._texts: dict[int, list[int]] = {}
        self._next = 0
        self.cancelled = False
        self.fail_after: int | None = None
        """Raise ``fail_with`` at this many steps from now (None: never)."""
        self.fail_with: Exception = BackendError("the toy broke")
        self.steps = 0
        self.fed = 0
        self.takes_over = True
        """False: ``replace_tail`` is refused."""
        self.replaced = 0
        """Tokens whose cache came from another tier."""
        self.facts = ModelFacts("toy", vocab, ctx, ctx, can_truncate, cache_key, True, 0)

    def logits_after(self, text: Sequence[int]) -> Logits:
        """The true logits after a text."""
        tail = ([END] * self._order + list(text))[-self._order :]
        return self.table[tuple(tail)].astype(np.float32)

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        return [(ord(c) - 97) % self._vocab for c in text]

    def piece(self, token: int) -> bytes:
        return bytes([97 + token])

    def is_end(self, token: int) -> bool:
        return token == END

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        tokens: list[int] = []
        for message in messages:
            opening = [] if message.role == "assistant" else [1]  # a reply follows the prompt directly
            tokens += [*opening, *(message.tokens or self.tokenize(message.content)), 2]
        return tokens

    def open(self) -> int:
        self._next += 1
        self._texts[self._next] = []
        return self._next

    def fork(self, seq: int) -> int:
        new = self.open()
        self._texts[new] = list(self._texts[seq])
        return new

    def drop(self, seq: int) -> None:
        del self._texts[seq]

    def length(self, seq: int) -> int:
        return len(self._texts[seq])

    def text(self, seq: int) -> list[int]:
        """What a sequence holds."""
        return list(self._texts[seq])

    def sequences(self) -> int:
        """How many sequences are open."""
        return len(self._texts)

    def truncate(self, seq: int, length: int) -> None:
        if length >= len(self._texts[seq]):
            return
        if not self.facts.can_truncate:
            raise CacheError("A toy model without memory of its past cannot cut its cache back.")
        del self._texts[seq][length:]

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        if len(self._texts[seq]) + len(tokens) > self.facts.n_ctx:
            raise ContextFull("full")
        row = self.step([Feed(seq, tokens)])[0][0]
        if progress is not None:
            progress(len(tokens), len(tokens))
        return row

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        if self.cancelled:
            raise Cancelled("Stopped.")
        self.steps += 1
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                raise self.fail_with
        results = []
        for feed in feeds:
            rows = []
            for i, token in enumerate(feed.tokens):
                if len(self._texts[feed.seq]) >= self.facts.n_ctx:
                    raise ContextFull("full")
                self._texts[feed.seq].append(int(token))
                self.fed += 1
                if i >= len(feed.tokens) - feed.outputs:
                    rows.append(self.logits_after(self._texts[feed.seq]))
            results.append(np.array(rows, np.float32).reshape(len(rows), self._vocab))
        return results

    def export_cache(self, seq: int, start: int = 0) -> bytes:
        return bytes(self._texts[seq][start:])

    def import_cache(self, seq: int, blob: bytes, length: int) -> None:
        self._texts[seq] = list(blob)[:length]

    def replace_tail(self, seq: int, blob: bytes, start: int, length: int) -> None:
        if not self.takes_over or len(blob) != length - start:
            raise CacheError("no room")
        assert len(self._texts[seq]) >= start
        self._texts[seq][start:] = list(blob)
        self.replaced += len(blob)

    def cancel(self) -> None:
        self.cancelled = True

    def resume(self) -> None:
        self.cancelled = False

    def close(self) -> None:
        self._texts.clear()
