"""From an order to the few passages that are worth their place in the prompt.

* Below the threshold of relevance nothing is taken: silence is better than a quotation that misleads.
* The same text twice, or nearly, is taken once.
* What resembles something already taken gives way to something new (maximal marginal relevance, Carbonell and
  Goldstein 1998), a little: at full weight diversity costs recall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from memory.recall.rank import Ranked
from memory.recall.values import Tuning, Vector

HEAD = 40  # candidates weighed against each other; further down the order diversity changes nothing
_MAYBE_SAME = 0.8  # cosine from which comparing the words is worth the time


def relevant(ranked: Sequence[Ranked], tuning: Tuning) -> list[Ranked]:
    """The candidates worth showing; none unless one of the first few reaches the threshold.

    Args:
        ranked: best first.
        tuning: the thresholds, and the share of them that further passages need.
    """
    if not any(one.scores.relevance >= _threshold(one, tuning) for one in ranked[:5]):
        return []
    return [one for one in ranked if one.scores.relevance >= _threshold(one, tuning) * tuning.floor]


def _threshold(one: Ranked, tuning: Tuning) -> float:
    return tuning.threshold_words if one.scores.meaning is None else tuning.threshold


def diverse(
    ranked: Sequence[Ranked], terms: Mapping[int, frozenset[str]], vectors: Mapping[int, Vector], tuning: Tuning
) -> Iterator[Ranked]:
    """Candidates in the order they should be taken, near-duplicates left out.

    Args:
        ranked: best first.
        terms: the words of each candidate.
        vectors: unit vectors where there are any.
        tuning: how alike is the same, and what likeness costs.

    Yields:
        One candidate after the other; the caller stops when its budget is spent.
    """
    head = list(ranked[:HEAD])
    likeness = _likeness(head, terms, vectors)
    scores = np.array([one.scores.fused for one in head])
    penalty = np.zeros(len(head))
    open_ = np.ones(len(head), bool)
    taken: list[int] = []
    while open_.any():
        best = int(np.argmax(np.where(open_, scores - tuning.diversity * penalty, -np.inf)))
        open_[best] = False
        alike = [other for other in taken if likeness[best, other] >= _MAYBE_SAME]
        if any(_same(head[best], head[other], likeness[best, other], terms, tuning) for other in alike):
            continue
        yield head[best]
        taken.append(best)
        # Only what goes beyond being about the same thing counts: half of a cosine is common to any two answers.
        penalty = np.maximum(penalty, np.clip((likeness[best] - 0.5) * 2, 0, 1))
    yield from ranked[HEAD:]


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of common words."""
    return len(one & other) / len(one | other) if one and other else 0.0


def _likeness(
    head: Sequence[Ranked], terms: Mapping[int, frozenset[str]], vectors: Mapping[int, Vector]
) -> NDArray[np.float64]:
    """Cosines between all candidates; by words, on the same scale, where vectors are missing."""
    count = len(head)
    ids = [one.chunk_id for one in head]
    if all(chunk_id in vectors for chunk_id in ids) and ids:
        rows = np.stack([vectors[chunk_id] for chunk_id in ids])
        cosines: NDArray[np.float64] = (rows @ rows.T).astype(np.float64)
        return cosines
    words = [terms.get(chunk_id, frozenset()) for chunk_id in ids]
    columns = {word: column for column, word in enumerate(frozenset().union(*words))}
    holds = np.zeros((count, len(columns)), np.float32)
    for row, held in enumerate(words):
        holds[row, [columns[word] for word in held]] = 1
    common = (holds @ holds.T).astype(np.float64)
    sizes = common.diagonal()
    values: NDArray[np.float64] = 0.5 + common / np.maximum(sizes[:, None] + sizes - common, 1) / 2
    return values


def _same(one: Ranked, other: Ranked, likeness: float, terms: Mapping[int, frozenset[str]], tuning: Tuning) -> bool:
    """Whether two chunks say the same: nearly all words in common, or nearly one direction and half of the words."""
    words = overlap(terms.get(one.chunk_id, frozenset()), terms.get(other.chunk_id, frozenset()))
    return words >= tuning.duplicate_words or (
        likeness >= tuning.duplicate_cosine and words >= tuning.duplicate_words / 2
    )
