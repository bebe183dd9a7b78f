"""Teacher-forced reading of a finished text: what a tier thinks of every token. The fork map is built from it.

The text goes through in wide batched steps, so the cost is about that of one prefill.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends.signals import divergence, measure
from backends.stepper import Feed, Logits, Stepper
from backends.types import Judgement

_CELLS = 16_000_000
"""Logits held at once (64 MB of float32): bounds the chunk for large vocabularies."""


def score(
    stepper: Stepper,
    seq: int,
    reply: Sequence[int],
    first: Logits,
    *,
    against: tuple[Stepper, int, Logits] | None = None,
) -> list[Judgement]:
    """Judge each token of ``reply``.

    Args:
        stepper: The judging tier.
        seq: Its sequence, holding everything before the reply.
        reply: Token ids.
        first: The tier's logits after ``seq``, ``[n_vocab]``.
        against: The speaking tier, its sequence and first logits: then ``kl`` is KL(judge || speaker) per position.

    Returns:
        One judgement per token, in order. Afterwards ``seq`` also holds the reply, except its last token.
    """
    width = max(1, min(256, _CELLS // stepper.facts.n_vocab))
    judgements: list[Judgement] = []
    rows, other = first[None].copy(), against[2][None].copy() if against else None
    for start in range(0, len(reply), width):
        chunk = reply[start : start + width]
        # rows[-1] carries over: the logits for a chunk's first token came out of the chunk before.
        if start:
            rows, other = rows[-1:].copy(), other[-1:].copy() if other is not None else None
        feed = chunk if start + width < len(reply) else chunk[:-1]
        head, head_other = rows, other
        if feed:
            rows = stepper.step([Feed(seq, feed, len(feed))])[0]
            if against is not None:
                other = against[0].step([Feed(against[1], feed, len(feed))])[0]
        for i, token in enumerate(chunk):
            row = head[-1] if i == 0 else rows[i - 1]
            low = None
            if head_other is not None and other is not None:
                low = head_other[-1] if i == 0 else other[i - 1]
            judgements.append(_judge(stepper, token, row, low))
    return judgements


def _judge(stepper: Stepper, token: int, row: Logits, low: Logits | None) -> Judgement:
    signals = measure(row)
    p = signals.p(token)
    surprise = signals.log_norm - float(row[token])
    return Judgement(
        token=token,
        text=stepper.piece(token).decode("utf-8", "replace"),
        p=p,
        best=signals.best,
        best_text=stepper.piece(signals.best).decode("utf-8", "replace"),
        best_p=signals.p(signals.best),
        kl=divergence(signals, measure(low)) if low is not None else surprise,
        margin=float(row[signals.best] - row[token]),
        second_p=signals.p(signals.second),
        entropy=signals.entropy,
    )
