"""Whether a lower tier is worth anything on this machine: it should write faster than the tiers above it.

Among the tiers of one GGUF file that is so everywhere. Folders that are quantized while loading (bitsandbytes) are made
for graphics cards: on a CPU their 8 and 4 bits can be slower than 16. So such a ladder is timed when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from backends.stepper import Feed, Stepper

STEPS = 3
CLEARLY = 1.1
"""A tier counts as slower when a step takes this many times as long."""
_TEXT = "The eye sees sharply only where it looks."


def step_seconds(stepper: Stepper) -> float:
    """The shortest of ``STEPS`` steps of one token, seconds. What was read for it is forgotten."""
    tokens = stepper.tokenize(_TEXT)[:8]
    seq = stepper.open()
    try:
        logits = stepper.prefill(seq, tokens)
        best = float("inf")
        for _ in range(STEPS):
            start = perf_counter()
            logits = stepper.step([Feed(seq, [int(logits.argmax())])])[0][0]
            best = min(best, perf_counter() - start)
        return best
    finally:
        stepper.drop(seq)


def beaten(seconds: Sequence[tuple[str, float]]) -> dict[str, tuple[str, float]]:
    """Tiers that are slower than one above them.

    Args:
        seconds: (tier, seconds of a step), low to high.

    Returns:
        Tier -> (the fastest tier above it, its own speed as a share of that one's).
    """
    found = {}
    for at, (name, own) in enumerate(seconds[:-1]):
        above, least = min(seconds[at + 1 :], key=lambda pair: pair[1])
        if own > CLEARLY * least:
            found[name] = (above, least / own)
    return found
