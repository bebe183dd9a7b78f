"""N continuations in one batch over one shared prefix (prefill once, share the cache, step N rows together).

The idea of doing it this way is nanochat's ``Engine.generate``; here the rows share cells of one unified cache.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from backends.decoders.writer import Writer
from backends.errors import ContextFull
from backends.signals import measure
from backends.stepper import Feed, Logits, Stepper
from backends.types import Step


def branch(writers: Sequence[Writer], seqs: Sequence[int], logits: Logits) -> Generator[Step, None, list[str]]:
    """Write all continuations in step.

    With temperature 0 the rows would be one text N times, so row ``i`` starts with the ``i``-th best first token and is
    greedy from there (a row for which no token is near enough to the best starts with the best one too). With sampling,
    each row has its own random numbers.

    Args:
        writers: One per continuation, over the same stepper.
        seqs: Engine sequences, each holding the shared prompt.
        logits: Logits after the prompt, shape ``[n_vocab]``.

    Returns:
        (through StopIteration) the list of reasons, one per continuation.
    """
    stepper: Stepper = writers[0].stepper
    reasons = [""] * len(writers)
    logits = logits.copy()
    firsts = measure(logits).top(len(writers)) if writers[0].job.sampling.temperature <= 0 else []
    last: list[int] = []
    for row, writer in enumerate(writers):
        token, signals = writer.choose(logits)
        if row < len(firsts):
            token = firsts[row]
        last.append(token)
        yield writer.write(token, signals)
        reasons[row] = writer.ended(token)
    while True:
        live = [row for row, reason in enumerate(reasons) if not reason]
        if not live:
            return reasons
        try:
            outputs = stepper.step([Feed(seqs[row], (last[row],)) for row in live])
        except ContextFull:
            return [reason or "context" for reason in reasons]
        for row, rows in zip(live, outputs, strict=True):
            token, signals = writers[row].choose(rows[0])
            last[row] = token
            yield writers[row].write(token, signals)
            reasons[row] = writers[row].ended(token)
