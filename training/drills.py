"""Copying drills: rows of meaningless tokens in which everything that counts can be looked up earlier in the row.

A model that answers from passages must first learn to copy, and ordinary text teaches that late: most of it can be
guessed without looking back. Here nothing can be guessed, which makes attention heads form that find the earlier
occurrence of what was just read and copy what followed it ("induction heads", Olsson et al. 2022). Two kinds: a
sequence said again, and pairs of key and value asked in another order (associative recall, Arora et al. 2023).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

FULL = 100  # weight of a token that can be looked up, as in training.data


def repetition(rng: random.Random, words: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """A random sequence said two or more times, with noise in between; repeats count from their second token.

    Args:
        rng: where everything is drawn from.
        words: token ids to draw from.
        width: tokens to make.

    Returns:
        Ids and weights (0 or 100), ``width`` of each.
    """
    ids: list[int] = []
    weights: list[int] = []
    while len(ids) < width:
        phrase = rng.choices(words, k=rng.choice((3, 4, 6, 8, 12, 16, 24)))
        ids += phrase
        weights += [0] * len(phrase)
        for _ in range(rng.choice((1, 1, 2, 3))):
            noise = rng.choices(words, k=rng.choice((0, 0, 1, 3, 8)))
            ids += noise + phrase
            weights += [0] * (len(noise) + 1) + [FULL] * (len(phrase) - 1)
    return ids[:width], weights[:width]


def pairs(rng: random.Random, words: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """Keys with their values, then the same keys in another order: the values count.

    Args and result as in ``repetition``.
    """
    ids: list[int] = []
    weights: list[int] = []
    while len(ids) < width:
        drawn = rng.sample(words, 40)
        mark, stop, keys = drawn[0], drawn[1], drawn[2 : 2 + rng.choice((2, 3, 4, 6, 8, 12))]
        table = {key: rng.choices(words, k=rng.choice((1, 1, 2, 3))) for key in keys}
        for key, value in table.items():
            ids += [key, mark, *value, stop]
            weights += [0] * (len(value) + 3)
        for key in rng.sample(keys, len(keys)):
            ids += [key, mark, *table[key], stop]
            weights += [0, 0] + [FULL] * len(table[key]) + [0]
    return ids[:width], weights[:width]


def drill(rng: random.Random, words: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """One row of either kind. Args and result as in ``repetition``."""
    # Drawing from few words makes false matches frequent: the longer context has to decide.
    pool = words if rng.random() < 0.7 else rng.sample(words, rng.choice((64, 128, 256)))
    return (repetition if rng.random() < 0.55 else pairs)(rng, pool, width)
