"""What a message is searched with."""

from __future__ import annotations

import pytest

from memory.recall.question import MAX_TERMS, is_small_talk, question


@pytest.mark.parametrize(
    "message",
    [
        "And for 13B?",
        "and in Riga?",
        "What about it?",
        "Why?",
        "How many does she have?",
        "А для 13B?",
        "Сколько он весит?",
        "13B?",
    ],
)
def test_follow_ups_bring_their_context(message: str) -> None:
    asked = question(message, ["Tell me a joke", "How much memory does a 7B model need at 4 bits?"])
    assert asked.follow_up
    assert asked.terms["memori"] == 0.5
    assert asked.terms["joke"] == 0.25
    assert asked.text == f"How much memory does a 7B model need at 4 bits? {message}"


@pytest.mark.parametrize(
    "message",
    [
        "What is the capital city of France?",
        "Explain how photosynthesis works in desert plants",
        "Что такое квантование весов модели?",
    ],
)
def test_a_question_that_stands_alone_is_searched_alone(message: str) -> None:
    asked = question(message, ["How much memory does a 7B model need?"])
    assert not asked.follow_up
    assert "memori" not in asked.terms
    assert asked.text == message


def test_its_own_words_weigh_most() -> None:
    asked = question("and memory?", ["memory of a 7B model"])
    assert asked.terms["memori"] == 1.0
    assert asked.terms["model"] == 0.5


def test_without_earlier_messages_nothing_is_added() -> None:
    assert question("And for 13B?").terms.keys() == {"13b", "13", "b"}
    assert question("  ").terms == {}
    assert question("And for 13B?", ["", "  "]).follow_up is False


def test_a_pasted_page_is_bounded() -> None:
    assert len(question(" ".join(f"word{number}" for number in range(1000))).terms) <= MAX_TERMS


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "Hi!",
        "Good morning",
        "thanks a lot",
        "Thank you, fine",
        "how do you do?",
        "ok",
        "Привет!",
        "до свидания",
    ],
)
def test_greetings_and_thanks_ask_for_nothing(message: str) -> None:
    assert is_small_talk(message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "and then?",
        "where is it",
        "good restaurants",
        "thanks, and where is my key?",
        "Привет, где ключ?",
        "hello world",
        "What is on tomorrow evening?",
        "What about tomorrow?",
        "the evening",
        "Что у меня завтра?",
        "Какие дела завтра?",
    ],
)
def test_a_question_is_no_small_talk(message: str) -> None:
    assert not is_small_talk(message)
