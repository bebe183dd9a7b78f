"""What counts in a drill can be looked up earlier in the row, and nothing else counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from training.drills import drill, pairs, repetition

WORDS = list(range(10, 2000))
Maker = Callable[[random.Random, Sequence[int], int], tuple[list[int], list[int]]]


@pytest.mark.parametrize("make", [repetition, pairs, drill])
def test_a_drill_fills_the_row_and_depends_on_its_seed_alone(make: Maker) -> None:
    ids, weights = make(random.Random(4), WORDS, 257)
    assert (ids, weights) == make(random.Random(4), WORDS, 257)
    assert len(ids) == len(weights) == 257
    assert set(weights) == {0, 100}
    assert set(ids) <= set(WORDS)


def test_what_counts_in_a_repetition_followed_the_same_token_before() -> None:
    ids, weights = repetition(random.Random(1), WORDS, 400)
    for place, weight in enumerate(weights):
        if weight:
            assert (ids[place - 1], ids[place]) in set(pairwise(ids[:place])), place


def test_what_counts_among_pairs_is_the_value_given_for_the_key() -> None:
    ids, weights = pairs(random.Random(2), WORDS, 400)
    place = 1
    while place < len(ids):
        if weights[place]:
            end = next((at for at in range(place, len(ids)) if not weights[at]), len(ids))
            asked = ids[place - 2 : end]  # key, mark, value
            found = [at for at in range(place - 2) if ids[at : at + len(asked)] == asked]
            assert found, asked
            place = end
        place += 1
