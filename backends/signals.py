"""What a distribution over the next token says, computed once from logits that are already there.

One exponential over the vocabulary gives the probabilities, their normaliser and the entropy; two passes of ``argmax``
give the margin. ``bench/`` measures the share of a decode step this takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backends.errors import BackendError
from backends.largest import reached_by
from backends.stepper import Logits

_NEAR = 5.0
"""Alternatives further than this many nats below the best token are not worth listing."""


@dataclass(frozen=True, slots=True)
class Signals:
    """One position, at one tier. Log-probabilities and entropy in nats."""

    best: int
    second: int
    log_best: float
    """Log-probability of the best token (<= 0)."""
    margin: float
    """Log-probability of the best minus the second-best token (>= 0)."""
    entropy: float
    log_norm: float
    """Log of the normaliser: ``log p(token) = logits[token] - log_norm``."""
    weights: npt.NDArray[np.float32]
    """``exp(logits - max)``, shape ``[n_vocab]``: the distribution without its normaliser."""
    total: float
    """Sum of ``weights``."""

    def p(self, token: int) -> float:
        """Probability of a token."""
        return float(self.weights[token]) / self.total

    def top(self, count: int) -> list[int]:
        """The best few tokens, best first; only those within ``_NEAR`` nats of the best."""
        bound = max(reached_by(self.weights, count), math.exp(-_NEAR))
        near = np.flatnonzero(self.weights >= bound)
        order = near[np.argsort(-self.weights[near], kind="stable")]
        return [int(token) for token in order[:count]]


def measure(logits: Logits) -> Signals:
    """Signals of one row of logits, shape ``[n_vocab]``. The row is not changed.

    Raises:
        BackendError: the row holds NaN or +inf.
    """
    best = int(logits.argmax())
    peak = logits[best]
    weights = np.subtract(logits, peak)
    centred = weights.copy()
    np.exp(weights, out=weights)
    total = float(weights.sum(dtype=np.float64))
    if not math.isfinite(total):
        raise BackendError(
            "The model computed numbers that are not finite: its file is damaged, or a value overflowed."
        )
    log_total = math.log(total)
    # -inf logits (banned tokens) would give 0 * -inf = nan in the entropy; they carry no weight.
    np.maximum(centred, -1e4, out=centred)
    entropy = log_total - float(weights @ centred) / total
    centred[best] = -np.inf
    second = int(centred.argmax())
    return Signals(
        best=best,
        second=second,
        log_best=-log_total,
        margin=float(-centred[second]),
        entropy=max(entropy, 0.0),
        log_norm=float(peak) + log_total,
        weights=weights,
        total=total,
    )


def divergence(high: Signals, low: Signals) -> float:
    """KL(high || low) in nats: what is lost by speaking from ``low`` where ``high`` is meant."""
    p = high.weights / high.total
    q = low.weights / low.total
    mask = p > 0
    kl = float(np.sum(p[mask] * (np.log(p[mask]) - np.log(np.maximum(q[mask], 1e-30)))))
    return max(kl, 0.0)
