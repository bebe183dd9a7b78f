"""From corpus and templates to packed rows of token ids with a loss weight each.

Three stages: copying drills and prose in short rows (attention is cheap there, and looking things up is learnt first),
then everything, then longer rows of the job alone. Conversations are never cut: each row takes as many whole ones as
fit, and prose fills what is left, so almost nothing is padding. Held-out documents go to their own files and nowhere
else.

    python -m training.data --corpus ../shared/corpus --tokenizer build/pocket/tokenizer.json --out build/pocket/data
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import jobs
from training.drills import drill
from training.formats import END_OF_TEXT, IM_END, IM_START, Message
from training.sources import FILES, Row, held_out_paragraphs, read_rows, split_dialogues, split_prose, split_questions
from training.tokenizer import load_tokenizer

WEIGHT_SCALE = 100  # loss weights are stored as bytes, 100 = 1.0
# Sources whose English is close to what people ask about today; old novels are the rest, thinned out.
PROSE_SHARES = {
    "wikipedia-squad-train": 1.0,
    "wikipedia-wtq": 0.6,
    "openstax": 0.4,
    "african-storybook": 1.0,
    "classic-books": 0.06,
    "tech-docs": 0.1,
    "factbook": 0.2,
    "python-peps": 0.0,
    "russian-novels": 0.12,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the training data.

    Attributes:
        row: tokens a row.
        tokens: about how many tokens.
        prose: share of rows that are prose only.
        grounded: of the conversations, the share that are questions over real paragraphs.
        small_talk: weight of small talk in the other conversations.
        drills: share of rows that are copying drills.
        dialogue: of the conversations, the share that are written by people about anything.
    """

    row: int
    tokens: int
    prose: float
    grounded: float
    small_talk: float = 5.0
    drills: float = 0.0
    dialogue: float = 0.0


STAGES = (
    Stage(256, 1_500_000, 0.25, 0.10, drills=0.45),
    Stage(512, 8_000_000, 0.15, 0.30, drills=0.04, dialogue=0.12),
    Stage(1024, 5_500_000, 0.0, 0.22, small_talk=7.0, dialogue=0.02),
)


class Encoder:
    """Token ids of messages and prose."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.start = tokenizer.token_to_id(IM_START)
        self.end = tokenizer.token_to_id(IM_END)
        self.stop = tokenizer.token_to_id(END_OF_TEXT)
        self.newline = self.ids("\n")
        special = {self.start, self.end, self.stop}
        self.words = [token for token in range(tokenizer.get_vocab_size()) if token not in special]

    def ids(self, text: str) -> list[int]:
        """Ids of plain text; a special token spelled out in it is encoded as text would be, byte by byte."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def conversation(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Ids and weights (0..100) of a conversation in ChatML; a reply's end token counts like the reply."""
        ids: list[int] = []
        weights: list[int] = []
        for message in messages:
            weight = round(message.weight * WEIGHT_SCALE)
            head, body = [self.start, *self.ids(f"{message.role}\n")], self.ids(message.text)
            ids += [*head, *body, self.end, *self.newline]
            weights += [0] * len(head) + [weight] * len(body)
            weights += [WEIGHT_SCALE if message.role == "assistant" else 0] + [0] * len(self.newline)
        return ids, weights


def pack(
    encoder: Encoder,
    prose: Iterator[list[int]],
    chat: Callable[[], list[Message]],
    stage: Stage,
    rng: random.Random,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one stage.

    Args:
        encoder: the tokenizer.
        prose: endless stream of encoded documents.
        chat: makes the next conversation.
        stage: sizes and shares.
        rng: decides which rows are prose only.

    Returns:
        Ids (rows, row + 1) as uint16 and weights (rows, row + 1) as uint8; column ``i + 1`` is the target of ``i``.
    """
    width = stage.row + 1
    rows = max(1, stage.tokens // stage.row)
    ids = np.zeros((rows, width), dtype=np.uint16)
    weights = np.zeros((rows, width), dtype=np.uint8)
    rest: list[int] = []
    waiting: tuple[list[int], list[int]] | None = None
    for row in range(rows):
        if rng.random() < stage.drills:
            ids[row], weights[row] = drill(rng, encoder.words, width)
            continue
        filled = 0
        while rng.random() >= stage.prose or filled:
            item = waiting or encoder.conversation(chat())
            waiting = None
            if len(item[0]) > width:
                continue
            if filled + len(item[0]) > width:
                waiting = item
                break
            ids[row, filled : filled + len(item[0])] = item[0]
            weights[row, filled : filled + len(item[0])] = item[1]
            filled += len(item[0])
        while filled < width:
            if not rest:
                rest = [*next(prose), encoder.stop]
            piece, rest = rest[: width - filled], rest[width - filled :]
            ids[row, filled : filled + len(piece)] = piece
            weights[row, filled : filled + len(piece)] = WEIGHT_SCALE
            filled += len(piece)
    return ids, weights


def prose_stream(encoder: Encoder, rows: Sequence[Row], rng: random.Random) -> Iterator[list[int]]:
    """Encoded prose documents in random order, again and again."""
    order = list(range(len(rows)))
    while True:
        rng.shuffle(order)
        for index in order:
            yield encoder.ids(rows[index]["text"])


def load_corpus(corpus: Path, rng: random.Random) -> tuple[list[Row], jobs.Material, dict[str, list[str]]]:
    """Training prose, conversation material, and held-out prose by language."""
    questions = split_questions(read_rows(corpus / FILES["qa_en"]))
    barred = held_out_paragraphs(questions)
    english = split_prose(read_rows(corpus / FILES["prose_en"]), barred)
    russian = split_prose(read_rows(corpus / FILES["prose_ru"]))
    train = [row for row in (*english.train, *russian.train) if rng.random() < PROSE_SHARES.get(row["source"], 0.0)]
    modern = [
        row for row in english.train if row["source"] in ("wikipedia-squad-train", "wikipedia-wtq", "african-storybook")
    ]
    held = {
        "english": [row["text"] for row in english.held_out],
        "russian": [row["text"] for row in russian.held_out],
    }
    dialogues = split_dialogues(read_rows(corpus / FILES["dialog_en"]))
    material = dataclasses.replace(jobs.material_from(questions.train, modern), dialogues=dialogues)
    return train, material, held


def build_stage(
    encoder: Encoder, prose: Sequence[Row], material: jobs.Material, stage: Stage, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """All rows of a stage from one seed."""
    rng = random.Random(seed)

    def chat() -> list[Message]:
        if material.dialogues and rng.random() < stage.dialogue:
            return jobs.dialogue(rng, material)
        if rng.random() < stage.grounded:
            return jobs.grounded(rng, material)
        return jobs.conversation(rng, material, stage.small_talk)

    return pack(encoder, prose_stream(encoder, prose, rng), chat, stage, rng)


def main() -> None:
    """Write the packed stages, the held-out prose and the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/pocket/tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket/data"))
    parser.add_argument("--scale", type=float, default=1.0, help="times the default number of tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="write this stage only (from 0); the others stay as they are")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(load_tokenizer(arguments.tokenizer))
    prose, material, held = load_corpus(arguments.corpus, random.Random(arguments.seed))
    (arguments.out / "held_out.json").write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")
    (arguments.out / "stages.json").write_text(json.dumps([stage.tokens for stage in STAGES]), encoding="utf-8")
    for index, stage in enumerate(STAGES):
        if arguments.only not in (None, index):
            continue
        sized = dataclasses.replace(stage, tokens=int(stage.tokens * arguments.scale))
        ids, weights = build_stage(encoder, prose, material, sized, arguments.seed * 100 + index)
        np.save(arguments.out / f"ids-{index}.npy", ids)
        np.save(arguments.out / f"weights-{index}.npy", weights)
        replies = float((weights == WEIGHT_SCALE).mean())
        print(f"stage {index}: {ids.shape[0]} rows of {stage.row}, {replies:.0%} of tokens count in full")


if __name__ == "__main__":
    main()
