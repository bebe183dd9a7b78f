"""A small embedding model made of word lists: texts that share a topic point the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memory.recall.text import index_terms

Vectors = NDArray[np.float32]

TOPICS = (
    "cat kitten pet feline",
    "car automobile vehicle engine",
    "sea ocean beach water",
    "delete remove erase",
    "bread flour bake oven",
)


class TopicEmbedder:
    """Each topic is an axis; what has no topic points along the last one."""

    name = "topics"

    def __init__(self) -> None:
        self._axes = {term: axis for axis, words in enumerate(TOPICS) for term in index_terms(words).split()}
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), len(TOPICS) + 1), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[-1] = 0.3
            for term in index_terms(text).split():
                if term in self._axes:
                    row[self._axes[term]] += 1.0
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_query(self, text: str) -> Vectors:
        self.asked.append(text)
        row: Vectors = self.encode([text])[0]
        return row
