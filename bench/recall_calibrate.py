"""Fit and check when nothing is relevant enough: the two logistic models of ``memory.recall.rank``.

    python -m bench.recall_calibrate EVAL_FOLDER --cache FOLDER --out relevance.json

A question has an answer in a base or it has not; the second kind is made from the first by asking the questions of one
base of another one: SQuAD paragraphs split by article into a base and foreign questions, LoCoMo dialogues asked of each
other. Fitted on half of the SQuAD questions and on dialogues 1 and 2; checked on the other half, on dialogue 3, on
Russian XQuAD and on the code set.

Examples for the fit: marked chunks among the first ten (yes), the first three of a question that belongs elsewhere
(no), and unmarked chunks from place five on of a question with an answer (no). Features: the share of the question's
rarity-weighted words in a chunk and its neighbours, the share in the chunk alone, and the cosine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.recall import Ask, Base, code, embed_base, locomo, paragraphs
from bench.recall_cache import CachedEmbedder
from memory.recall.around import Around, score_around
from memory.recall.engine import Recaller
from memory.recall.question import question
from memory.recall.terms import weigh_terms
from memory.recall.values import DEFAULT_TUNING
from memory.store import DocumentInfo, Store
from memory.store.schema import kind_bits

MOST = 120
"""Questions taken from each part, evenly spread."""
Matrix = NDArray[np.float64]


@dataclass
class Seen:
    """One question and the features of its first ten candidates."""

    answerable: bool
    features: list[tuple[float, float, float]]
    """Coverage, own coverage, cosine."""
    marked: list[bool]


def look(base: Base, asks: Sequence[Ask], answerable: bool, embedder: CachedEmbedder, meaning: bool) -> list[Seen]:
    """Features of the first ten candidates of every question, by the program's own order."""
    recaller = Recaller(base.store, (lambda: embedder) if meaning else None)
    connection, bits = base.store.database.connection, kind_bits(None)
    total = base.store.stats().chunks
    if meaning:
        embedder.warm([ask.text for ask in asks[:: max(1, len(asks) // MOST)]])
    seen = []
    for ask in asks[:: max(1, len(asks) // MOST)]:
        order = recaller.order(ask.text, 10)
        ids = [one.chunk_id for one in order]
        around: dict[int, Around] = {}
        if ids:
            terms = weigh_terms(base.store, question(ask.text).terms, total)
            around = score_around(connection, ids, terms, DEFAULT_TUNING, bits)
        features = [
            (around[one.chunk_id].coverage, around[one.chunk_id].own, one.scores.meaning or 0.0) for one in order
        ]
        seen.append(Seen(answerable, features, [answerable and chunk_id in ask.gold for chunk_id in ids]))
    recaller.close()
    return seen


def examples(seen: Sequence[Seen]) -> tuple[Matrix, Matrix]:
    """Rows and labels for the fit."""
    rows, labels = [], []
    for one in seen:
        for place, (feature, marked) in enumerate(zip(one.features, one.marked, strict=True)):
            if marked or (not one.answerable and place < 3) or (one.answerable and place >= 4):
                rows.append(feature)
                labels.append(float(marked))
    return np.array(rows), np.array(labels)


def fit(rows: Matrix, labels: Matrix, ridge: float = 1.0) -> Matrix:
    """Logistic regression by Newton's method, classes weighed equally, a small ridge on the slopes."""
    design = np.hstack([np.ones((len(rows), 1)), rows])
    weights = np.where(labels > 0.5, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    theta = np.zeros(design.shape[1])
    penalty = ridge * np.diag([0.0, *([1.0] * rows.shape[1])])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ theta))
        gradient = design.T @ (weights * (labels - chance)) - penalty @ theta
        hessian = (design * (weights * chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        theta = theta + step
        if np.abs(step).max() < 1e-8:
            break
    return theta


def judge(seen: Sequence[Seen], theta: Matrix, columns: Sequence[int], threshold: float) -> dict[str, float]:
    """How often a question with an answer keeps it, and one without gets nothing."""
    kept, silent, with_answer, without = 0, 0, 0, 0
    for one in seen:
        chances = [_chance([feature[column] for column in columns], theta) for feature in one.features]
        shown = max(chances[:5], default=0.0) >= threshold
        if one.answerable:
            with_answer += any(one.marked)
            kept += shown and any(
                marked and chance >= threshold * DEFAULT_TUNING.floor
                for marked, chance in zip(one.marked, chances, strict=True)
            )
        else:
            without += 1
            silent += not shown
    result = {"threshold": threshold}
    if with_answer:
        result["answers kept, %"] = round(100 * kept / with_answer, 1)
    if without:
        result["silent where there is none, %"] = round(100 * silent / without, 1)
    return result


def _chance(feature: Sequence[float], theta: Matrix) -> float:
    return float(1 / (1 + np.exp(-(theta[0] + np.dot(theta[1:], feature)))))


def halves(folder: Path, scratch: Path, embedder: CachedEmbedder, name: str, source: str) -> tuple[Base, list[Ask]]:
    """A base of every other article, and the questions that belong to the articles left out."""
    whole = paragraphs(folder, scratch / "whole", name, source, 1200)
    store = Store(scratch / f"half-{source}")
    moved: dict[int, int] = {}
    for number, document in enumerate(whole.store.documents()):
        if number % 2:
            continue
        chunks = whole.store.document_chunks(document.id)
        pieces = [_piece(placement, chunk.text) for placement, chunk in chunks]
        put = store.put_pieces("file", document.uri, pieces, DocumentInfo(title=document.title, format="text"))
        for (_, old), (_, new) in zip(chunks, store.document_chunks(put.document_id), strict=True):
            moved[old.id] = new.id
    inside, foreign = [], []
    for ask in whole.asks:
        (gold,) = ask.gold
        if gold in moved:
            inside.append(Ask(ask.text, frozenset({moved[gold]})))
        else:
            foreign.append(ask)
    base = Base(source, store, inside)
    embed_base(base, embedder)
    return base, foreign


def _piece(placement: Any, text: str) -> Any:
    from memory.chunking.values import Piece

    return Piece(text, placement.char_start, placement.char_end)


def main() -> None:
    """Fit, check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    embedder = CachedEmbedder(args.cache)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        squad, foreign = halves(args.folder, scratch, embedder, "qa_en.jsonl.xz", "squad1.1-dev")
        russian, foreign_russian = halves(args.folder, scratch, embedder, "qa_ru.jsonl.xz", "xquad-ru")
        talks = [turns for turns, _ in locomo(args.folder, scratch, captions=True)]
        program = code(args.folder, scratch)
        for base in (*talks, program):
            embed_base(base, embedder)
        groups: dict[str, list[tuple[Base, Sequence[Ask], bool]]] = {
            "fit": [
                (squad, squad.asks[::2], True),
                (squad, foreign[::2], False),
                (talks[0], talks[0].asks, True),
                (talks[1], talks[1].asks, True),
                (talks[0], talks[1].asks, False),
                (talks[1], talks[0].asks, False),
            ],
            "SQuAD, other half": [(squad, squad.asks[1::2], True), (squad, foreign[1::2], False)],
            "LoCoMo, third dialogue": [(talks[2], talks[2].asks, True), (talks[0], talks[2].asks, False)],
            "XQuAD Russian": [(russian, russian.asks, True), (russian, foreign_russian, False)],
            "code": [(program, program.asks, True), (program, foreign[:200], False)],
        }
        result = {}
        for route, columns in (("both", (0, 1, 2)), ("words", (0, 1))):
            seen = {
                group: [one for base, asks, yes in parts for one in look(base, asks, yes, embedder, route == "both")]
                for group, parts in groups.items()
            }
            rows, labels = examples(seen["fit"])
            theta = fit(rows[:, columns], labels)
            checks = {
                group: [judge(part, theta, columns, threshold) for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
                for group, part in seen.items()
            }
            result[route] = {"coefficients": [round(float(value), 2) for value in theta], "checks": checks}
            print(route, result[route]["coefficients"], flush=True)
            for group, lines in checks.items():
                for line in lines:
                    print(f"  {group:24} {line}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
