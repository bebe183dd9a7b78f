"""The port every local engine implements: it steps, decoders decide.

A Stepper is one model at one precision with a key/value cache that holds several sequences. It knows nothing of
sampling, tiers or gates. All methods are called from one thread, except ``cancel``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from backends.types import Message

Logits = npt.NDArray[np.float32]
CacheBytes = bytes | memoryview
"""A key/value cache on its way from one Stepper to another."""
Progress = Callable[[int, int], None]
"""Called with (tokens done, tokens in all) during a prefill."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What decoders and the ladder need to know of a loaded model."""

    architecture: str
    n_vocab: int
    n_ctx: int
    """Tokens the cache holds, all sequences together."""
    n_ctx_train: int
    can_truncate: bool
    """False for recurrent and hybrid models: their state cannot be cut back to an earlier position."""
    cache_key: str
    """Equal on two Steppers exactly when a cache exported by one may be imported by the other (architecture, layers,
    heads, cache types, rope settings, vocabulary)."""
    has_template: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Tokens to append to one sequence in a batched step.

    ``outputs``: for how many of the *last* tokens logits are wanted (0..len(tokens)).
    """

    seq: int
    tokens: Sequence[int]
    outputs: int = 1


class Stepper(Protocol):
    """One model at one precision."""

    @property
    def facts(self) -> ModelFacts:
        """Facts about the loaded model."""

    # Text -------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of ``text``. With ``special=False`` a "<|im_end|>" in the text stays ordinary text."""

    def piece(self, token: int) -> bytes:
        """Bytes of one token; control tokens give ``b""``. May end inside a UTF-8 character."""

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the conversation in the model's own chat template, ready for the assistant's reply.

        The content of messages is data: special tokens written in it are tokenized as ordinary text.
        """

    # Sequences --------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """A new, empty sequence. Raises ContextFull when all sequence slots are taken."""

    def fork(self, seq: int) -> int:
        """A new sequence that shares the whole content of ``seq`` (no copy where the engine can share)."""

    def drop(self, seq: int) -> None:
        """Forget a sequence and free its cells."""

    def length(self, seq: int) -> int:
        """Tokens held by the sequence."""

    def truncate(self, seq: int, length: int) -> None:
        """Keep the first ``length`` tokens. Raises CacheError when the model cannot (see ``facts.can_truncate``)."""

    # Work -------------------------------------------------------------------------------------------------------

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        """Append tokens in batches. Returns the logits after the last one, shape ``[n_vocab]``.

        Raises:
            Cancelled: ``cancel`` was called; the sequence keeps the batches already done.
            ContextFull: the tokens do not fit; nothing was appended.
        """

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """Append to several sequences in one pass.

        Returns one array per feed, shape ``[outputs, n_vocab]``, valid until the next call on this Stepper
        (copy what must live longer).
        """

    def export_cache(self, seq: int, start: int = 0) -> CacheBytes:
        """The sequence's key/value cache from position ``start`` on, for a Stepper with the same ``cache_key``.

        Raises CacheError.
        """

    def import_cache(self, seq: int, blob: CacheBytes, length: int) -> None:
        """Fill an empty sequence from ``export_cache`` bytes that hold ``length`` tokens. Raises CacheError."""

    def replace_tail(self, seq: int, blob: CacheBytes, start: int, length: int) -> None:
        """Put another tier's cache in the place of what the sequence holds from position ``start`` on.

        Args:
            seq: It holds ``start`` tokens at least.
            blob: Of ``export_cache(…, start)``.
            start: The first position replaced.
            length: Tokens the sequence holds afterwards.

        Raises:
            CacheError: the bytes are not of such a cache; the sequence is as it was.
        """

    # Life -------------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Make a running ``prefill`` raise Cancelled soon. Thread-safe. Cleared by ``resume``."""

    def resume(self) -> None:
        """Clear a cancel before the next piece of work."""

    def close(self) -> None:
        """Free the model and its cache. Further calls are errors."""
