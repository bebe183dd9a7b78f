"""Composed conversations are sound: what is asked can be answered from what was said."""

from __future__ import annotations

import random
import re

import pytest

from training import facts
from training.formats import REFUSAL, REFUSAL_RU, render
from training.jobs import (
    Material,
    conversation,
    corpus_passages,
    dialogue,
    fact_passages,
    intents,
    remembered,
    window,
)

MATERIAL = Material(
    paragraphs=[
        (f"Town {n}", f"Town {n} has {n}7 houses. Its mayor is Ada {n}. It rains.", [("Who is the mayor?", f"Ada {n}")])
        for n in range(9)
    ]
)


def test_the_same_seed_composes_the_same() -> None:
    first, second = ([render(conversation(random.Random(8), MATERIAL)) for _ in range(5)] for _ in range(2))
    assert first == second


def test_every_kind_of_fact_answers_with_its_value() -> None:
    rng = random.Random(1)
    for russian in (False, True):
        for relation in facts.relations(russian):
            fact = facts.make_fact(rng, relation)
            assert "{" not in fact.statement + fact.question + fact.answer
            shared = set(re.findall(r"\w+", fact.statement)) & set(re.findall(r"\w+", fact.answer))
            assert shared, relation


@pytest.mark.parametrize("russian", [False, True])
def test_the_cited_passage_holds_the_answer(russian: bool) -> None:
    rng = random.Random(2)
    cited = 0
    for _ in range(200):
        turns = fact_passages(rng, Material(), russian)
        passages = dict(re.findall(r"^\[(\d+)\] (.*)$", turns[0][0], re.MULTILINE))
        for asked, answer in turns:
            if answer in (REFUSAL, REFUSAL_RU):
                continue
            text, number = re.fullmatch(r"(.*) \[(\d+)\]", answer).groups()
            question = asked.rsplit("Question: ", 1)[-1]
            new = set(re.findall(r"\w+", text)) - set(re.findall(r"\w+", question))
            assert new & set(re.findall(r"\w+", passages[number])), (text, passages[number])
            cited += 1
    assert cited > 100


def test_real_paragraphs_are_cited_by_their_number() -> None:
    rng = random.Random(3)
    for _ in range(100):
        turns = corpus_passages(rng, MATERIAL)
        passages = dict(re.findall(r"^\[(\d+)\] (.*)$", turns[0][0], re.MULTILINE))
        for _, answer in turns:
            if answer != REFUSAL:
                text, number = re.fullmatch(r"(.*) \[(\d+)\]", answer).groups()
                assert text in passages[number]


def test_a_window_keeps_only_questions_it_answers() -> None:
    text = "Ada was born in Rome. She moved to Oslo. She died in Bern."
    pairs = [("Where was she born?", "Rome"), ("Where did she die?", "Bern")]
    for seed in range(20):
        part, kept = window(text, pairs, random.Random(seed))
        assert all(answer in part for _, answer in kept)
        assert kept[0] == pairs[0]


def test_what_was_told_is_told_back() -> None:
    rng = random.Random(5)
    for russian in (False, True):
        for _ in range(50):
            (_, promise), (_, answer) = remembered(rng, russian)
            assert answer.rstrip(".").lower() in promise.lower()


def test_small_talk_files_are_well_formed() -> None:
    for name in ("smalltalk.en.txt", "smalltalk.ru.txt", "knowledge.txt"):
        assert all(asked and told and all(asked) and all(told) for asked, told in intents(name))


def test_a_stretch_of_dialogue_keeps_the_order_of_its_turns() -> None:
    turns = [f"turn {n}" for n in range(10)]
    for seed in range(20):
        messages = dialogue(random.Random(seed), Material(dialogues=[turns]))
        assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
        first = turns.index(messages[0].text)
        assert [message.text for message in messages] == turns[first : first + len(messages)]
