"""Write the figures of ``results.json`` into the model card, between its markers, so that no figure is typed by hand.

python -m training.report --json training/results.json --card MODEL_CARD.md
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from training.scores import f1, refuses, split_citation

START, END = "<!-- figures: written by training.report -->", "<!-- end of figures -->"
ANSWERED = {
    "passage": "SQuAD development question, its passage given",
    "distractors": "the same with two foreign passages beside it",
    "sentence": "QAMR, one sentence given",
    "facts": "invented facts, one of three alike",
    "russian": "XQuAD, Russian",
}
ABSENT = {
    "absent_foreign": "a SQuAD question with another article's passage",
    "absent_squad2": "SQuAD 2.0, unanswerable by design",
    "absent_facts": "invented facts, another subject asked",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def figures(results: dict[str, Any]) -> str:
    """All tables as Markdown."""
    tiers, base = results["tiers"], results["baselines"]
    names = list(tiers)
    parts = ["### Bits per byte on held-out prose (lower is better)", ""]
    languages = list(tiers[names[0]]["bits_per_byte"])
    parts.append(
        table(
            ["", *names, "byte 5-gram"],
            (
                [
                    language,
                    *(f"{tiers[name]['bits_per_byte'][language]:.3f}" for name in names),
                    f"{base['ngram_bits_per_byte'][language]:.3f}",
                ]
                for language in languages
            ),
        )
    )
    parts += ["", "### Grounded questions: exact match / F1 (right citation), in percent", "", answered_table(results)]
    parts += ["", "### Says that the passages do not contain the answer, in percent", "", absent_table(results)]
    parts += ["", "### The gap between the tiers", "", gap_table(results)]
    parts += ["", "### Replies at 16 bits, good and bad", "", example_table(results)]
    return "\n".join(parts)


def answered_table(results: dict[str, Any]) -> str:
    """Scores where the passages hold the answer."""
    tiers = results["tiers"]
    rows = []
    for task, label in ANSWERED.items():
        row = [f"{label} (n = {tiers['16-bit']['tasks'][task]['n']})"]
        for tier in tiers.values():
            score = tier["tasks"][task]
            row.append(f"{percent(score['exact'])} / {percent(score['f1'])} ({percent(score['cited'])})")
        base = results["baselines"]["best_sentence"][task]
        rows.append([*row, f"{percent(base['exact'])} / {percent(base['f1'])}"])
    return table(["", *tiers, "best sentence"], rows)


def absent_table(results: dict[str, Any]) -> str:
    """Refusals where they hold none, and wrong refusals where they do."""
    tiers = results["tiers"]
    rows = [
        [f"{label} (n = {tiers['16-bit']['tasks'][task]['n']})"]
        + [percent(tier["tasks"][task]["refused"]) for tier in tiers.values()]
        for task, label in ABSENT.items()
    ]
    rows += [
        [f"*wrongly*: {ANSWERED[task]}"] + [percent(tier["tasks"][task]["refused"]) for tier in tiers.values()]
        for task in ("passage", "facts")
    ]
    return table(["", *tiers], rows)


def gap_table(results: dict[str, Any]) -> str:
    """Agreement and divergence of the lower tiers with 16 bits."""
    rows = []
    for tier, texts in results["gap_to_16_bit"].items():
        for text, score in texts.items():
            rows.append(
                [
                    tier,
                    f"{text} ({score['tokens']} tokens)",
                    percent(score["top1_agreement"]),
                    f"{score['kl_mean']:.5f}",
                    f"{score['kl_99']:.4f}",
                ]
            )
    return table(["tier", "text", "same first choice, %", "mean KL, nats", "99 % KL"], rows)


def example_table(results: dict[str, Any]) -> str:
    """Up to two good and two bad replies of every task, as they came."""
    rows = []
    for task, examples in results["tiers"]["16-bit"]["examples"].items():
        graded: dict[str, list[dict[str, Any]]] = {"good": [], "bad": []}
        for example in examples:
            text, _ = split_citation(example["reply"])
            good = refuses(example["reply"]) if example["gold"] is None else f1(text, example["gold"]) > 0.99
            graded["good" if good else "bad"].append(example)
        for verdict, found in graded.items():
            rows += [
                [task, verdict, cell(example["question"]), cell(example["gold"] or "(none)"), cell(example["reply"])]
                for example in found[:2]
            ]
    return table(["task", "", "question", "expected", "reply"], rows)


def cell(text: str) -> str:
    """Foreign text as the content of a table cell: one line, no markup."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def fill(card: str, text: str) -> str:
    """The card with the part between the markers replaced.

    Raises:
        ValueError: a marker is missing.
    """
    if START not in card or END not in card:
        raise ValueError(f"the card needs the lines {START!r} and {END!r}")
    before, rest = card.split(START, 1)
    return before + START + "\n\n" + text + "\n\n" + END + rest.split(END, 1)[1]


def main() -> None:
    """Fill the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("training/results.json"))
    parser.add_argument("--card", type=Path, default=Path("MODEL_CARD.md"))
    arguments = parser.parse_args()
    results = json.loads(arguments.json.read_text(encoding="utf-8"))
    arguments.card.write_text(fill(arguments.card.read_text(encoding="utf-8"), figures(results)), encoding="utf-8")


if __name__ == "__main__":
    main()
