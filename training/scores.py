"""Scores of answers: exact match and F1 as SQuAD defines them (Rajpurkar et al. 2016), citations, refusals."""

from __future__ import annotations

import re
import string
from collections import Counter

from training.formats import REFUSAL, REFUSAL_RU

CITATION = re.compile(r"\s*\[(\d+)\]\s*$")


def normalise(text: str) -> str:
    """Lower case, no punctuation, no English articles, single spaces."""
    text = "".join(character for character in text.casefold() if character not in string.punctuation + "«»—–“”")
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def split_citation(reply: str) -> tuple[str, int | None]:
    """The answer without its closing citation, and the number cited."""
    match = CITATION.search(reply)
    return (reply[: match.start()].strip(), int(match.group(1))) if match else (reply.strip(), None)


def refuses(reply: str) -> bool:
    """Whether a reply says that the passages hold no answer."""
    return reply.strip().startswith((REFUSAL, REFUSAL_RU))


def exact_match(answer: str, gold: str) -> float:
    """1.0 where the normalised texts are equal."""
    return float(normalise(answer) == normalise(gold))


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall over words."""
    ours, theirs = normalise(answer).split(), normalise(gold).split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs or not common:
        return float(ours == theirs)
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)
