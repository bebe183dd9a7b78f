"""From candidates of two routes to one order.

1. Every candidate is scored by words (with its neighbours', see ``around``) and by meaning (cosine; candidates that
   only the words found are looked up, so that nobody is punished for a list's end).
2. The two are put on one scale, each divided by its best, and blended; or by reciprocal ranks (``rrf``).
3. A calibrated model turns coverage and cosine into the probability that the passage bears on the question at all.
4. What the person wrote for fovea gets a small preference, being recent breaks ties.

The blend keeps what ranks throw away (how much better the first is than the second) and measured better than
reciprocal ranks on every set at hand; Bruch, Gai and Ingber (2023) found the same at large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from memory.recall.around import Around
from memory.recall.values import Scores, Tuning
from memory.store import Hit

# Logistic models of relevance, fitted by `bench/recall_calibrate.py` on questions with and without an answer in the
# base, and checked on others (docs/memory.md). With both routes: intercept, coverage, own coverage, cosine.
RELEVANCE_BOTH = (-5.24, 3.01, 2.92, 5.59)
# With words alone: intercept, coverage, own coverage.
RELEVANCE_WORDS = (-3.77, 3.07, 4.72)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate with its scores, in the final order."""

    chunk_id: int
    scores: Scores


def rank(
    around: Mapping[int, Around],
    words: Sequence[Hit],
    cosines: Mapping[int, float],
    tuning: Tuning,
) -> list[Ranked]:
    """Fuse the routes.

    Args:
        around: word scores of every candidate.
        words: the word index's own hits, for the record.
        cosines: cosine of every candidate that has a vector; empty without an embedding model.
        tuning: weights.

    Returns:
        Candidates, best first; ties by chunk id.
    """
    plain = {hit.chunk_id: hit.score for hit in words}
    fused = _reciprocal(around, cosines, tuning) if tuning.fusion == "rrf" else _blend(around, cosines, tuning)
    likely = relevance(list(around.values()), [cosines.get(chunk_id) for chunk_id in around])
    ranked = [
        Ranked(chunk_id, Scores(plain.get(chunk_id), cosines.get(chunk_id), one.score, score, likelihood))
        for (chunk_id, one), score, likelihood in zip(around.items(), fused, likely, strict=True)
    ]
    return sorted(ranked, key=lambda one: (-one.scores.fused, one.chunk_id))


def relevance(around: Sequence[Around], cosines: Sequence[float | None]) -> list[float]:
    """The probability that each passage bears on the question, 0..1; by words alone where there is no cosine."""
    with_words = (RELEVANCE_WORDS[0], RELEVANCE_WORDS[1], RELEVANCE_WORDS[2], 0.0)
    models = np.array([with_words if cosine is None else RELEVANCE_BOTH for cosine in cosines]).reshape(-1, 4)
    features = np.array(
        [(1.0, one.coverage, one.own, cosine or 0.0) for one, cosine in zip(around, cosines, strict=True)]
    )
    logits = (models * features.reshape(-1, 4)).sum(axis=1)
    likely: list[float] = (1 / (1 + np.exp(-np.clip(logits, -30.0, 30.0)))).tolist()
    return likely


def _blend(around: Mapping[int, Around], cosines: Mapping[int, float], tuning: Tuning) -> list[float]:
    by_words = np.array([one.score for one in around.values()])
    by_meaning = np.array([cosines.get(chunk_id, 0.0) for chunk_id in around])
    best_words = float(by_words.max(initial=0.0))
    best_cosine = max(cosines.values(), default=0.0)
    share = (tuning.words_share if cosines else 1.0) if best_words > 0 else 0.0
    words = by_words / best_words if best_words > 0 else by_words
    fused: list[float] = (share * words + (1 - share) * np.maximum(by_meaning, 0.0) / max(best_cosine, 0.05)).tolist()
    return fused


def _reciprocal(around: Mapping[int, Around], cosines: Mapping[int, float], tuning: Tuning) -> list[float]:
    by_words = _places({chunk_id: one.score for chunk_id, one in around.items() if one.score > 0})
    by_meaning = _places(cosines)
    k = tuning.rrf_k
    best = (k + 1) / (1.0 if not cosines else 0.5)
    return [
        best * 0.5 * sum(1 / (k + places[chunk_id]) for places in (by_words, by_meaning) if chunk_id in places)
        for chunk_id in around
    ]


def _places(scores: Mapping[int, float]) -> dict[int, int]:
    order = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
    return {chunk_id: place for place, chunk_id in enumerate(order, 1)}
