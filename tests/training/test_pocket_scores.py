"""Scores, baselines and the figures in the card."""

from __future__ import annotations

import pytest

from training.baselines import ByteNgram, best_sentence
from training.formats import REFUSAL, REFUSAL_RU
from training.report import END, START, cell, fill
from training.scores import exact_match, f1, refuses, split_citation


def test_answers_are_compared_as_squad_does() -> None:
    assert exact_match("The  Red Fox.", "red fox") == 1.0
    assert exact_match("red", "red fox") == 0.0
    assert f1("the red dog", "a red fox") == pytest.approx(0.5)
    assert f1("", "fox") == 0.0
    assert f1("кот", "Кот.") == 1.0


def test_the_citation_is_taken_off() -> None:
    assert split_citation("Paris [2]") == ("Paris", 2)
    assert split_citation("in [1] Paris") == ("in [1] Paris", None)


def test_refusals_are_recognised() -> None:
    assert refuses(REFUSAL)
    assert refuses(REFUSAL_RU + " ")
    assert not refuses("The answer is 4.")


def test_the_best_sentence_shares_rare_words() -> None:
    passages = ["The town is old. The mayor of Tarn is Anna.", "The town is big."]
    assert best_sentence("Who is the mayor of the town Tarn?", passages) == "The mayor of Tarn is Anna."
    assert best_sentence("Who?", []) == ""


def test_the_ngram_model_is_a_distribution_that_learns() -> None:
    model = ByteNgram(3)
    model.train(["abcabcabc"] * 3)
    for context in (b"", b"a", b"ab", b"zz"):
        assert sum(model.probability(context, bytes([byte])) for byte in range(256)) == pytest.approx(1.0)
    assert model.probability(b"ab", b"c") > 0.9
    assert model.bits_per_byte(["abcabc"]) < 2.0 < model.bits_per_byte(["xyzxyz"])


def test_figures_replace_only_what_stands_between_the_markers() -> None:
    assert fill(f"a\n{START}\nold\n{END}\nb", "new") == f"a\n{START}\n\nnew\n\n{END}\nb"
    with pytest.raises(ValueError, match="needs the lines"):
        fill("no markers", "new")


def test_replies_cannot_break_the_table() -> None:
    assert cell("a|b\n<b>*x*</b> [1]") == r"a\|b \<b\>\*x\*\</b\> \[1\]"
