"""The word index's own view of a text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.recall.text import MAX_TERM, STOP_WORDS, index_terms, query_terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getUserName", "getusername get user name"),
        ("HTTPServer2", "httpserver2 http server 2"),
        ("max_batch_size", "maxbatchsize max batch size"),
        ("Q4_K_M", "q4km q 4 k m"),
        ("don't", "dont"),
        ("ﬁnal", "final"),  # the ligature a PDF leaves behind
        ("ＧＰＵ", "gpu"),
        ("in\u00advisi\u200bble", "invis"),
        ("日本語", "日本 本語"),
        ("", ""),
        ("___ — …", ""),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert index_terms(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("квантованные веса модели", "квантованных весов моделей"),
        ("ёжик", "Ежики"),
        ("running quickly", "run quick"),
        ("Caroline's", "caroline"),
        ("café", "CAFE"),
        ("maxBatchSize", "max_batch_size"),
    ],
)
def test_forms_of_one_word_meet(one: str, other: str) -> None:
    assert set(query_terms(one)) & set(index_terms(other).split())


def test_questions_lose_their_function_words_and_repetitions() -> None:
    assert query_terms("What is the model of the model?") == ["model"]
    assert query_terms("Что такое квантование?") == query_terms("квантование")


def test_a_question_of_function_words_only_is_still_searched() -> None:
    assert query_terms("who are you?") == ["who", "are", "you"]


def test_stop_words_are_folded_as_questions_are() -> None:
    assert all(index_terms(word).isalnum() and word == word.casefold() for word in STOP_WORDS)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=200))
def test_any_text_becomes_plain_terms(text: str) -> None:
    terms = index_terms(text).split()
    assert all(term.isalnum() for term in terms)
    assert all(len(term) <= MAX_TERM for term in terms)
    assert set(query_terms(text)) <= set(terms)
    assert len(query_terms(text)) == len(set(query_terms(text)))
