"""The low tier speaks; where the gate fires, the high tier takes all pending tokens and decides.

Tokens the gate lets pass stand as the low tier wrote them. At a firing the high tier reads everything pending in one
batched step, so its cache is always computed from the text as it stands, and its own choice is written at the doubtful
position. ``speculative`` is the same loop with every pending token judged.
"""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter

from backends.decoders.pair import HighLost, Pair, to_the_end
from backends.errors import BackendError, Cancelled, ContextFull
from backends.stepper import Logits
from backends.types import Notice, Step, Why


def gated(pair: Pair, logits: Logits, high_logits: Logits | None = None) -> Generator[Step | Notice, None, str]:
    """Write until the reply ends.

    Args:
        pair: The two tiers; both hold the prompt, except for ``pair.unread`` on the high tier.
        logits: Low logits after the prompt, ``[n_vocab]``.
        high_logits: High logits after the prompt when ``pair.unread`` is empty (the high tier read it): the first
            token is then the high tier's, which costs nothing.

    Returns:
        (through StopIteration) why it ended: ``end``, ``stop``, ``length`` or ``context``.
    """
    return to_the_end(pair, _gated(pair, logits, high_logits))


def _gated(pair: Pair, logits: Logits, high_logits: Logits | None) -> Generator[Step | Notice, None, str]:
    writer, gate, counts = pair.writer, pair.writer.job.gate, pair.counts
    while True:
        # 1) The low tier's choice, and how dense this place is.
        start = perf_counter()
        token, signals = writer.choose(logits)
        density = writer.tracker.density(signals)
        fires = density >= gate.threshold or len(pair.unread) >= gate.max_pending or high_logits is not None
        counts.gate_s += perf_counter() - start
        # 2) Where the gate fires, the high tier reads what it has not read and chooses.
        if fires:
            start_of_unread = pair.high.length(pair.high_seq)
            if high_logits is None:
                try:
                    high_logits = pair.ask_high(pair.unread, 1)[0]
                except (Cancelled, ContextFull):
                    raise
                except (BackendError, MemoryError) as error:
                    raise HighLost(error, logits) from error
                pair.unread.clear()
            high_token, high_signals = writer.choose(high_logits)
            why = Why.CONFIRMED if high_token == token else Why.OVERRULED
            token, high_logits = high_token, None
            counts.high_tokens += 1
            pair.hand_back(start_of_unread)
            yield writer.write(
                token, signals, tier=pair.high_tier, why=why, density=density, high=high_signals,
                high_tier=pair.high_tier,
            )  # fmt: skip
        else:
            yield writer.write(token, signals, density=density)
        # 3) Hand back to the low tier.
        pair.unread.append(token)
        reason = writer.ended(token)
        if reason:
            return reason
        try:
            logits = pair.ask_low((token,))
        except ContextFull:
            return "context"
