"""One tier, streaming, with density measured from logits it already has."""

from __future__ import annotations

from collections.abc import Generator

from backends.decoders.writer import Writer
from backends.errors import ContextFull
from backends.stepper import Feed, Logits
from backends.types import Step


def plain(writer: Writer, seq: int, logits: Logits) -> Generator[Step, None, str]:
    """Write until the reply ends.

    Args:
        writer: The continuation; its stepper is the one that is stepped.
        seq: Engine sequence that holds the prompt (and prefix).
        logits: Logits after the last token of ``seq``, shape ``[n_vocab]``.

    Returns:
        (through StopIteration) why it ended: ``end``, ``stop``, ``length`` or ``context``.
    """
    while True:
        token, signals = writer.choose(logits)
        yield writer.write(token, signals)
        reason = writer.ended(token)
        if reason:
            return reason
        try:
            logits = writer.stepper.step([Feed(seq, (token,))])[0][0]
        except ContextFull:
            return "context"
