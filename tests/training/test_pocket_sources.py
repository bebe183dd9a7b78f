"""Nothing held out reaches training."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import pytest

from training.data import load_corpus
from training.sources import (
    CorpusError,
    Row,
    held_out_paragraphs,
    is_held_out,
    paragraph_key,
    read_rows,
    split_dialogues,
    split_prose,
    split_questions,
)


def question_rows(titles: int) -> list[Row]:
    return [
        {
            "source": "squad1.1-train",
            "title": f"T{t}",
            "context": f"Paragraph {p} of {t} speaks of {t * p}. It ends.",
            "question": f"What is {q}?",
            "answer": str(t * p),
        }
        for t in range(titles)
        for p in range(3)
        for q in range(2)
    ]


def test_a_document_lies_on_one_side_only() -> None:
    split = split_questions(question_rows(400))
    held, train = {row["title"] for row in split.held_out}, {row["title"] for row in split.train}
    assert held
    assert not held & train


def test_the_split_does_not_depend_on_order() -> None:
    rows = question_rows(200)
    first = {row["title"] for row in split_questions(rows).held_out}
    random.Random(1).shuffle(rows)
    assert (
        {row["title"] for row in split_questions(rows).held_out}
        == first
        == {f"T{t}" for t in range(200) if is_held_out(f"title:T{t}")}
    )


def test_prose_is_held_out_as_a_block_behind_a_gap() -> None:
    rows = [{"source": "books", "text": f"row {index}"} for index in range(1000)]
    split = split_prose(rows)
    assert [row["text"] for row in split.held_out] == [f"row {index}" for index in range(980, 1000)]
    assert len(split.train) == 960


def test_prose_that_holds_a_held_out_paragraph_is_dropped() -> None:
    split = split_questions(question_rows(400))
    barred = held_out_paragraphs(split)
    leaking = split.held_out[0]["context"].replace(" ", "  ")
    rows = [{"source": "wiki", "text": f"# Title\n\n{leaking}\n\nMore."}, *({"source": "wiki", "text": "x"},) * 99]
    assert all(paragraph_key(leaking) not in paragraph_key(row["text"]) for row in split_prose(rows, barred).train)
    assert len(split_prose(rows, barred).train) == len(split_prose(rows).train) - 1


def test_material_for_conversations_holds_no_held_out_text(tmp_path: Path) -> None:
    questions = question_rows(300)
    held = held_out_paragraphs(split_questions(questions))
    prose = [{"source": "wikipedia-squad-train", "text": row["context"]} for row in questions]
    talks = [{"source": "self-dialogue", "turns": [f"Do you like {n}?", f"Yes, {n} is fine."]} for n in range(200)]
    files = {
        "qa_en": questions,
        "prose_en": prose,
        "prose_ru": [{"source": "r", "text": "да"}] * 60,
        "dialog_en": talks,
    }
    for name, rows in files.items():
        with lzma.open(tmp_path / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    train, material, held_prose = load_corpus(tmp_path, random.Random(1))
    assert 180 < len(material.dialogues) < 200
    used = {paragraph_key(text) for _, text, _ in material.paragraphs} | {paragraph_key(row["text"]) for row in train}
    assert held
    assert not used & held
    assert not {paragraph_key(text) for text in held_prose["english"]} & {
        paragraph_key(row["text"]) for row in train
    } - {
        paragraph_key(row["context"]) for row in questions if row["context"] in {text for text in held_prose["english"]}
    }


def test_dialogues_are_held_out_by_their_first_turns_and_task_dialogues_left_out() -> None:
    rows = [{"source": "self-dialogue", "turns": [str(n), "yes", "no"]} for n in range(500)]
    kept = split_dialogues([*rows, {"source": "sgd", "turns": ["a flight", "when?"]}])
    assert 470 < len(kept) < 500
    assert ["a flight", "when?"] not in kept
    assert kept == split_dialogues(rows)


def test_a_missing_corpus_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--corpus"):
        next(read_rows(tmp_path / "no.jsonl.xz"))
