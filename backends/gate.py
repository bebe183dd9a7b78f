"""Density of a position, and whether the gate fires there.

Density is a logistic model over signals the speaking tier gives for free. Without a calibration it is the documented
default rule: the margin alone, ``sigmoid(-20 * margin)``, because two nearly tied tokens are where precisions fork,
while entropy (unsure among many) hardly tells (measured: docs/precision.md).
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping

from backends.signals import Signals
from backends.types import Gate

DEFAULT_WEIGHTS: Mapping[str, float] = {"bias": 0.0, "margin": -20.0}
"""Density 0.5 at a tie, 0.27 at a margin of 0.05 nats, 0.12 at 0.1, 0.02 at 0.2."""

_NEGATION = re.compile(r"^\s*(not|no|never|n't|none|nor|without|не|ни|нет|без|никогда)\b", re.IGNORECASE)
_CODE = re.compile(r"[{}()\[\];=<>_/\\|&*^%$#@`]")
_WORD_START = re.compile(r"^\s+\S")

SIGNALS: tuple[str, ...] = (
    "margin",
    "log_margin",
    "entropy",
    "p_best",
    "p_low_quantile",
    "surprise",
    "digit",
    "negation",
    "name",
    "code",
    "sentence_start",
    "word_start",
    "position",
)
"""Names of the signals, in the order ``Tracker.signals`` computes them. Units: margin, entropy and surprise in nats,
``log_margin`` = ln(margin + 0.001), ``p_best`` 0..1, ``p_low_quantile`` the 10 % quantile of the last 16 ``p_best``,
the kinds of token 0 or 1 for the best token, ``position`` = ln(1 + tokens written)."""


class Tracker:
    """Running signals of one continuation. Tell it of every written token with ``wrote``."""

    def __init__(self, gate: Gate, text_of: Callable[[int], str]) -> None:
        self._weights = dict(gate.weights or DEFAULT_WEIGHTS)
        self._bias = self._weights.pop("bias", 0.0)
        self._text_of = text_of
        self._kinds: dict[int, tuple[float, float, float, float, float]] = {}
        self._recent: deque[float] = deque(maxlen=16)
        self._surprise = 0.0
        self._sentence_start = 1.0
        self._position = 0

    def density(self, signals: Signals) -> float:
        """Estimated probability that the high tier would choose another token here."""
        if len(self._weights) == 1 and "margin" in self._weights:
            return _sigmoid(self._bias + self._weights["margin"] * signals.margin)
        values = self.signals(signals)
        return _sigmoid(self._bias + sum(weight * values[name] for name, weight in self._weights.items()))

    def signals(self, signals: Signals) -> dict[str, float]:
        """All named signals of a position (see ``SIGNALS``)."""
        digit, negation, name, code, word = self._kind(signals.best)
        return {
            "margin": min(signals.margin, 10.0),
            "log_margin": math.log(min(signals.margin, 10.0) + 0.001),
            "entropy": signals.entropy,
            "p_best": math.exp(signals.log_best),
            "p_low_quantile": self._low_quantile(),
            "surprise": self._surprise,
            "digit": digit,
            "negation": negation,
            "name": name,
            "code": code,
            "sentence_start": self._sentence_start,
            "word_start": word,
            "position": math.log1p(self._position),
        }

    def wrote(self, token: int, signals: Signals) -> None:
        """Take note of the token that was written at the position of ``signals``."""
        self._recent.append(math.exp(signals.log_best))
        surprise = -math.log(max(signals.p(token), 1e-9))
        self._surprise = 0.7 * self._surprise + 0.3 * surprise
        text = self._text_of(token)
        if text.strip():
            self._sentence_start = float(text.rstrip().endswith((".", "!", "?", ":", "\n")))
        elif "\n" in text:
            self._sentence_start = 1.0
        self._position += 1

    def _low_quantile(self) -> float:
        if not self._recent:
            return 1.0
        ordered = sorted(self._recent)
        return ordered[len(ordered) // 10]

    def _kind(self, token: int) -> tuple[float, float, float, float, float]:
        known = self._kinds.get(token)
        if known is None:
            text = self._text_of(token)
            bare = text.strip()
            known = (
                float(any(c.isdigit() for c in bare)),
                float(bool(_NEGATION.match(text))),
                float(bare[:1].isupper()),
                float(bool(_CODE.search(bare))),
                float(bool(_WORD_START.match(text))),
            )
            self._kinds[token] = known
        return known


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -40 else math.exp(x)
