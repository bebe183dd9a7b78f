"""Cutting documents into chunks along their own structure, with exact spans."""

from __future__ import annotations

from memory.chunking.blocks import Block, Limits, pack
from memory.chunking.code import LANGUAGES, code_blocks
from memory.chunking.markdown import markdown_blocks, plain_blocks
from memory.chunking.table import csv_blocks
from memory.chunking.values import Piece

DEFAULT_LIMITS = Limits()


def chunk_text(text: str, format: str = "markdown", limits: Limits = DEFAULT_LIMITS) -> list[Piece]:
    """Cut a text into chunks.

    Args:
        text: The whole text; spans refer to it.
        format: ``markdown``, ``text``, ``csv``, ``code`` or the name of a language in ``LANGUAGES``; anything else is
            read as text.
        limits: Sizes in characters.

    Returns:
        Chunks in order; none for a text without a visible character.
    """
    if format == "markdown":
        return pack(text, markdown_blocks(text), limits)
    if format == "csv":
        return pack(text, csv_blocks(text), limits)
    if format == "code" or format in LANGUAGES:
        return pack(text, code_blocks(text, format, limits), limits)
    return pack(text, plain_blocks(text), limits)


__all__ = ["DEFAULT_LIMITS", "LANGUAGES", "Block", "Limits", "Piece", "chunk_text", "pack"]
