"""Words the store does not know lead to the nearest it does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.recall.terms import weigh_terms
from memory.recall.variants import WEIGHT, edit_distance, nearest, with_variants
from memory.store import Store


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("kitten", "sitting", 3),
        ("form", "from", 1),
        ("настроек", "настройк", 1),
        ("ab", "ab", 0),
    ],
)
def test_distances(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


@settings(deadline=None)  # a busy machine is no failure
@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_bounded_and_zero_only_for_equals(one: str, other: str, third: str) -> None:
    distance = edit_distance(one, other)
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))


def test_other_forms_and_slips_are_found(store: Store) -> None:
    store.put_document("file", "/a", "", "Настройки интерфейса. Quantization of embeddings.", format="text")
    connection = store.database.connection
    assert nearest(connection, "настроек") == ["настройк"]
    assert nearest(connection, "quanitz") == ["quantiz"]
    assert nearest(connection, "quantisat") == []
    assert nearest(connection, "interf") == []
    assert with_variants(connection, {"настроек": 1.0, "unknownword": 1.0, "q4": 0.5}, set()) == {
        "настройк": WEIGHT,
        "unknownword": 1.0,
        "q4": 0.5,
    }


def test_known_terms_and_short_ones_are_left_alone(store: Store) -> None:
    store.put_document("file", "/a", "", "forms cats", format="text")
    assert with_variants(store.database.connection, {"form": 1.0, "cats": 1.0, "abcd": 1.0}, {"form"}) == {
        "form": 1.0,
        "cats": 1.0,
        "abcd": 1.0,
    }


def test_common_words_are_not_searched_in_a_large_store(store: Store) -> None:
    for number in range(12):
        store.put_document("file", f"/{number}", "", f"common words everywhere rare{number}", format="text")
    terms = weigh_terms(store, {"common": 1.0, "rare3": 1.0, "unknown": 1.0}, 12)
    assert terms.searched() == ["rare3", "common"]
    assert terms.searched(5) == ["rare3"]
    assert weigh_terms(store, {"common": 1.0}, 12).searched(5) == ["common"]
    assert terms.weights["rare3"] > terms.weights["common"] > 0
    large = weigh_terms(store, {"rare3": 1.0, "unknown": 1.0}, 10_000)
    assert large.weights["unknown"] > large.weights["rare3"]
    assert terms.weights["unknown"] < terms.weights["rare3"]
