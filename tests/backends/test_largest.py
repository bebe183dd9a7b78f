from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backends.largest import largest, reached_by


@given(
    arrays(np.float32, st.integers(1, 3000), elements=st.floats(-8, 8, width=16)),
    st.integers(1, 50),
)
def test_the_largest_are_those_a_sort_finds(values, count):
    found = largest(values, count)
    if count >= len(values):
        assert len(found) == len(values)
        return
    kth = np.sort(values)[-count]
    assert found.tolist() == np.flatnonzero(values >= kth).tolist()
    assert reached_by(values, count) <= kth


@pytest.mark.parametrize("count", [1, 5, 40])
def test_few_others_reach_the_bound(count):
    values = np.random.default_rng(3).normal(size=128_000).astype(np.float32)
    assert count <= np.count_nonzero(values >= reached_by(values, count)) <= 3 * count


def test_banned_tokens_are_never_among_them():
    values = np.full(4096, -np.inf, np.float32)
    values[[5, 900, 4095]] = (1.0, 2.0, 0.0)
    assert set(largest(values, 3)) == {5, 900, 4095}
