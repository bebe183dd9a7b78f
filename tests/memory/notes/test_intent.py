"""Requests to remember, and talk that only sounds like one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.notes import requested


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("Remember that my cat is called Tom.", "My cat is called Tom"),
        ("remember my cat is called Tom", "My cat is called Tom"),
        ("Please remember: the server is fra-2", "The server is fra-2"),
        ("Can you remember that I live in Riga?", "I live in Riga"),
        ("Could you please remember that I am vegan", "I am vegan"),
        ("Don't forget that Anna is allergic to nuts!", "Anna is allergic to nuts!"),
        ("Never forget: backups run at 3", "Backups run at 3"),
        ("Keep in mind that I use x_max here", "I use x_max here"),
        ("Make a note that the deadline is Friday", "The deadline is Friday"),
        ("make a note: iPhone cable is in the drawer", "IPhone cable is in the drawer"),
        ("Add to memory: I like short answers", "I like short answers"),
        ("Save this to your notes: port 8080", "Port 8080"),
        ("Always remember that tests come first", "Tests come first"),
        ("Okay, remember that it is blue", "It is blue"),
        ("Запомни, что мою кошку зовут Муся", "Мою кошку зовут Муся"),
        ("запомни: сервер в Риге", "Сервер в Риге"),
        ("Пожалуйста, запомни что я веган.", "Я веган"),
        ("Не забудь, что у Анны аллергия", "У Анны аллергия"),
        ("Запиши в память: отвечай коротко", "Отвечай коротко"),
        ("Имей в виду, что я пишу на Python", "Я пишу на Python"),
        ("Прошу запомнить: встреча в среду", "Встреча в среду"),
        ("Учти, что срок в пятницу", "Срок в пятницу"),
        ("Remember that “a quoted sentence”", "A quoted sentence"),
        ("Re\u200bmember that hidden letters do not matter", "Hidden letters do not matter"),
    ],
)
def test_requests(message: str, text: str) -> None:
    found = requested(message)
    assert found is not None
    if text.startswith("IPhone"):  # a word with capitals inside is left as it is
        text = "iPhone" + text[6:]
    assert found.text == text


@pytest.mark.parametrize(
    "message",
    [
        "Do you remember that my cat is called Tom?",
        "I remember that day.",
        "Remember when we met?",
        "Remember me?",
        "remember how it was",
        "Does it remember: what?",
        "She said: I can't remember that.",
        "I don't remember the name",
        "What does 'remember that' mean?",
        "How do I make the program remember that setting?",
        "Помнишь, что я говорил?",
        "Я помню, что это было",
        "Ты можешь вспомнить?",
        "Write down the formula for the area of a circle",
        "запиши формулу площади круга",
        "Tell me a story",
        "",
        "remember",
        "remember that …",
        "Remember Anna?",
    ],
)
def test_talk(message: str) -> None:
    assert requested(message) is None


def test_only_the_sentence_is_taken_and_the_rest_is_answered() -> None:
    found = requested("Hello! Remember that my cat is Tom. What does he eat?")
    assert found is not None
    assert (found.text, found.rest) == ("My cat is Tom", "Hello! What does he eat?")


def test_after_a_colon_the_whole_paragraph_is_taken() -> None:
    found = requested("Remember:\n1. milk\n2. bread\n\nAnd now a joke.")
    assert found is not None
    assert (found.text, found.rest) == ("1. milk\n2. bread", "And now a joke.")


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=300))
def test_any_message_is_survived(message: str) -> None:
    found = requested(message)
    assert found is None or found.text.strip()
