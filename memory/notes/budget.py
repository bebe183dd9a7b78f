"""How much of the prompt MEMORY.md may take, and how that is counted without a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from memory.errors import NoteBudgetError

DEFAULT_BUDGET = 1200
"""Tokens MEMORY.md may take: about 30 % of a 4,096-token context is more than a small model can spare."""
WARN_SHARE = 0.8
"""From this share of the budget on the person is warned."""


def estimate_tokens(text: str) -> int:
    """Tokens a text takes at most with usual tokenizers, without loading one.

    Byte-pair tokenizers spend about one token on four characters of English and, the small ones, one on two of
    Cyrillic; this errs on the side of too many.

    Args:
        text: any text.

    Returns:
        A count, at least 1 for a text that is not empty.
    """
    ascii_count = len(text.encode("ascii", "ignore"))
    return -(-ascii_count // 4) + -(-(len(text) - ascii_count) // 2)


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """What of MEMORY.md stands in the prompt: all of it."""

    text: str
    tokens: int
    limit: int

    @property
    def warning(self) -> str:
        """A sentence for the person when the budget is nearly spent; empty otherwise."""
        if self.tokens < self.limit * WARN_SHARE:
            return ""
        return (
            f"MEMORY.md takes {self.tokens} of its {self.limit} tokens; move what is not always needed to a topic note "
            "before it no longer fits."
        )


def within_budget(text: str, tokens: int, limit: int) -> MemoryBlock:
    """The block for the prompt.

    Raises:
        NoteBudgetError: the text does not fit; nothing is cut.
    """
    if tokens > limit:
        raise NoteBudgetError(
            f"MEMORY.md takes {tokens} tokens and may take {limit}. Shorten it, move parts to topic notes "
            "(they are recalled when needed), or raise the budget in the settings."
        )
    return MemoryBlock(text, tokens, limit)
