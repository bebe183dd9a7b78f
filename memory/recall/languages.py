"""Which questions an embedding model can read.

The default model and its kind were trained on English. For other scripts their vectors are noise: asked in Russian,
they rank almost at random (measured on XQuAD in docs/memory.md), and blending noise into a good word ranking spoils it.
So such a question goes by words alone, until a multilingual model is set.
"""

from __future__ import annotations

ENGLISH_ONLY = (
    "all-minilm",
    "all-mpnet",
    "all-distilroberta",
    "multi-qa-",
    "msmarco-",
    "bge-small-en",
    "bge-base-en",
    "bge-large-en",
    "gte-small",
    "gte-base",
    "gte-large",
    "e5-small-v2",
    "e5-base-v2",
    "e5-large-v2",
    "nomic-embed-text-v1",
    "snowflake-arctic-embed-s",
)
"""Beginnings of model names, in small letters, that read Latin script only."""

LATIN_SHARE = 0.6


def can_read(model: str, text: str) -> bool:
    """Whether a model's vectors mean something for a text.

    Args:
        model: the name its vectors are stored under.
        text: the question.

    Returns:
        False where an English model is asked in another script.
    """
    if not model.rsplit("/", 1)[-1].casefold().startswith(ENGLISH_ONLY):
        return True
    letters = [char for char in text if char.isalpha()]
    latin = sum(1 for char in letters if char < "\u0250")
    return not letters or latin >= LATIN_SHARE * len(letters)
