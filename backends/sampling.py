"""Drawing the next token.

The sampler is stateless: the random numbers of position ``i`` of continuation ``seq`` depend on ``(seed, seq, i)``
alone. So the same seed gives the same text, a reply resumed after a fault goes on exactly as it would have, and the
order in which tiers are asked cannot change a draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from backends.largest import largest
from backends.signals import Signals, measure
from backends.stepper import Logits
from backends.types import Sampling

Distribution = npt.NDArray[np.float64]
"""Probabilities after temperature and filters, shape ``[n_vocab]``, summing to 1."""


_LARGEST = float(np.finfo(np.float32).max)


def uniform(seed: int, seq: int, position: int, count: int = 1) -> npt.NDArray[np.float64]:
    """``count`` numbers in [0, 1) that belong to one position of one continuation."""
    return np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFFFFFFFFFF, seq, position])).random(count)


def penalized(logits: Logits, sampling: Sampling, recent: Sequence[int]) -> Logits:
    """Logits with the repetition penalty of Keskar et al. 2019 (CTRL): divided when positive, multiplied when not.

    Returns the same array when there is nothing to do, else a copy.
    """
    recent = recent[-sampling.repetition_window :] if sampling.repetition_window > 0 else ()
    if sampling.repetition_penalty == 1.0 or not recent:
        return logits
    tokens = np.unique(np.asarray(recent, dtype=np.int64))
    logits = logits.copy()
    values = logits[tokens].astype(np.float64)
    with np.errstate(all="ignore"):  # a penalty near 0 leaves the range of floats, and infinities have no softmax
        values = np.where(values > 0, values / sampling.repetition_penalty, values * sampling.repetition_penalty)
    logits[tokens] = values.clip(-_LARGEST, _LARGEST)
    return logits


def distribution(logits: Logits, sampling: Sampling, recent: Sequence[int] = ()) -> Distribution:
    """The distribution tokens are really drawn from: penalty, temperature, top-k, top-p, min-p, in that order."""
    tokens, p = candidates(logits, sampling, recent)
    everything: Distribution = np.zeros(len(logits), np.float64)
    everything[tokens] = p
    return everything


def candidates(
    logits: Logits, sampling: Sampling, recent: Sequence[int] = ()
) -> tuple[npt.NDArray[np.intp], Distribution]:
    """The same distribution without its zeros: token ids in rising order and their probabilities, same length.

    Filters leave some tens of tokens of a vocabulary of up to 250,000, so the exponentials, the sort and the sums are
    made of those alone: 5 ms a token become 0.5.
    """
    logits = penalized(logits, sampling, recent)
    if sampling.temperature <= 0:
        return np.asarray([logits.argmax()]), np.ones(1)
    peak = float(logits.max())
    tokens: npt.NDArray[np.intp] = np.arange(len(logits))
    if 0 < sampling.top_k < len(logits):
        tokens = largest(logits, sampling.top_k)
    p: Distribution = np.exp((logits[tokens].astype(np.float64) - peak) / sampling.temperature)
    p /= p.sum()
    if sampling.top_p < 1.0:
        tokens, p = _nucleus(tokens, p, sampling.top_p)
    if sampling.min_p > 0.0:
        kept = p >= sampling.min_p * p.max()
        tokens, p = tokens[kept], p[kept]
    return tokens, p / p.sum()


def _nucleus(tokens: npt.NDArray[np.intp], p: Distribution, share: float) -> tuple[npt.NDArray[np.intp], Distribution]:
    """Keep the smallest set of best tokens whose probabilities reach ``share`` (Holtzman et al. 2020)."""
    # What all tokens below this bound have together cannot reach 1 - share: they are outside, and need no sorting.
    possible = np.flatnonzero(p > (1.0 - share) / len(p))
    if not len(possible):  # a share below the precision of floats, and flat probabilities: the best token alone
        possible = np.flatnonzero(p == p.max())
    order = possible[np.argsort(-p[possible], kind="stable")]
    keep = np.sort(order[: int(np.searchsorted(np.cumsum(p[order]), share)) + 1])
    return tokens[keep], p[keep]


def draw(p: Distribution, u: float) -> int:
    """The token at quantile ``u`` of a distribution."""
    cumulative = np.cumsum(p)
    token = int(np.searchsorted(cumulative, u * cumulative[-1], side="right"))
    return min(token, len(p) - 1)


def choose(logits: Logits, sampling: Sampling, recent: Sequence[int], at: tuple[int, int]) -> tuple[int, Signals]:
    """Draw one token and measure its position. ``at`` is (continuation, position).

    The signals are those of the untouched logits: provenance reports the model's own probabilities.
    """
    signals = measure(logits)
    if sampling.temperature <= 0 and sampling.repetition_penalty == 1.0:
        return signals.best, signals
    tokens, p = candidates(logits, sampling, recent)
    return int(tokens[draw(p, float(uniform(sampling.seed, *at)[0]))]), signals
