"""Why a closer look is proposed, in words a person can check against the text."""

from __future__ import annotations

from collections.abc import Sequence

from agent.density.labels import best_of, features_of
from backends.gate import SIGNALS
from backends.types import Step

_KINDS = (
    ("digit", "a number"),
    ("negation", "a negation"),
    ("code", "code"),
    ("name", "a name"),
    ("sentence_start", "the start of a sentence"),
)
"""Signals that say what kind of word is in doubt, the most telling first."""


def why(steps: Sequence[Step], doubtful: Sequence[int]) -> str:
    """The reason, from the densest of the doubtful positions (which are not empty)."""
    worst = max(doubtful, key=lambda at: steps[at].density)
    step = steps[worst]
    kind = _kind(steps, worst)
    others = [other.text for other in step.alternatives if other.token != step.token]
    first = _shown(step.text)
    if others and step.margin < 0.5:
        text = f"{first} and {_shown(others[0])} were nearly tied"
    elif best_of(step) != step.token:
        text = f"{first} was not the likeliest word"
    else:
        text = f"{first} is doubtful"
    if kind:
        text += f" ({kind})"
    more = len(doubtful) - 1
    return text + (f", and {more} more place{'s' if more > 1 else ''}" if more else "")


def _kind(steps: Sequence[Step], at: int) -> str:
    if steps[at].token < 0:  # a server's: tokens without ids have no signals to replay
        return ""
    row = features_of(steps[: at + 1])[at]
    return next((name for signal, name in _KINDS if row[SIGNALS.index(signal)] > 0), "")


def _shown(text: str) -> str:
    """Foreign text in quotation marks, on one line."""
    bare = text.strip()
    return f"“{bare}”" if bare else "a line break" if "\n" in text else "a space" if text else "the end"
