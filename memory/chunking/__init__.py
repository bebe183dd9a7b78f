"""Cutting documents into chunks along their own structure, with exact spans."""

from __future__ import annotations

from memory.chunking.blocks import Block, Limits, pack
from memory.chunking.markdown import markdown_blocks, plain_blocks
from memory.chunking.values import Piece

DEFAULT_LIMITS = Limits()


def chunk_text(text: str, format: str = "markdown", limits: Limits = DEFAULT_LIMITS) -> list[Piece]:
    """Cut a text into chunks.

    Args:
        text: The whole text; spans refer to it.
        format: ``markdown``, ``text``, or the name of a programming language.
        limits: Sizes in characters.

    Returns:
        Chunks in order; none for a text without a visible character.
    """
    if format == "markdown":
        return pack(text, markdown_blocks(text), limits)
    return pack(text, plain_blocks(text), limits)


__all__ = ["DEFAULT_LIMITS", "Block", "Limits", "chunk_text", "pack"]
