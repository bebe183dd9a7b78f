"""The tokenizer loses nothing, and ChatML is tokenized in training as it is in use."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from training.data import WEIGHT_SCALE, Encoder
from training.formats import IM_END, IM_START, Message, grounded_question, render, system_prompt
from training.jobs import Material, conversation


def test_every_text_comes_back(encoder: Encoder) -> None:
    for text in ("hello world", "Ёж & 🦊\n\tdef f(): pass", "  two  spaces ", "12:45 — ½", ""):
        assert encoder.tokenizer.decode(encoder.ids(text)) == text


def test_any_text_comes_back(encoder: Encoder) -> None:
    @given(st.text(max_size=40))
    def check(text: str) -> None:
        if IM_START not in text and IM_END not in text:
            assert encoder.tokenizer.decode(encoder.ids(text)) == text

    check()


def test_digits_are_single_tokens(encoder: Encoder) -> None:
    assert len(encoder.ids("2024")) == 4


def test_training_tokens_equal_the_rendered_conversation(encoder: Encoder) -> None:
    rng = random.Random(4)
    for _ in range(50):
        messages = conversation(rng, Material())
        ids, weights = encoder.conversation(messages)
        assert ids == encoder.tokenizer.encode(render(messages)).ids
        assert len(ids) == len(weights)


def test_only_replies_count_in_full(encoder: Encoder) -> None:
    messages = [Message("system", "Be kind."), Message("user", "Hi", 0.2), Message("assistant", "Hello!", 1.0)]
    ids, weights = encoder.conversation(messages)
    counted = [token for token, weight in zip(ids, weights, strict=True) if weight == WEIGHT_SCALE]
    assert encoder.tokenizer.decode(counted, skip_special_tokens=False) == f"Hello!{IM_END}"


def test_passages_are_numbered_from_one() -> None:
    text = grounded_question("Who?", [("a.md", "One."), ("b.md", "Two.")])
    assert text == "Passages:\n[1] (a.md) One.\n[2] (b.md) Two.\n\nQuestion: Who?"


def test_notes_follow_the_role() -> None:
    assert system_prompt("Be kind.", ["The key is red."]) == "Be kind.\nNotes:\n- The key is red."
