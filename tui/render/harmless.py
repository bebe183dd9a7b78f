"""Foreign text on a terminal: it can show itself and nothing else.

Model output, titles, file names and notes pass through here before they are written to a terminal or a pipe: escape
sequences, control characters, direction overrides and invisible characters are taken out. Markup needs no care here,
because nothing that is written this way interprets any.
"""

from __future__ import annotations

from memory.safety import clean


def harmless(text: str) -> str:
    """Text that can only show itself. Newlines and tabs stay. Idempotent."""
    return clean(text).text


def one_line(text: str, width: int = 0) -> str:
    """Foreign text as one line, cut with an ellipsis at ``width`` cells (0: not cut); a wide character takes two."""
    line = " ".join(harmless(text).split())
    if not width or 2 * len(line) <= width:
        return line
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, max(1, width - 1)).rstrip() + "…"


class HarmlessStream:
    """Cleans text that arrives in pieces, such as the tokens of a reply.

    A sequence that is spread over several pieces loses its escape character with the first of them, and the rest is
    ordinary text.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The part of the stream that can be shown now."""
        piece = self._held + piece
        # "\r\n" is one line end, also when its halves come separately.
        self._held = "\r" if piece.endswith("\r") else ""
        return harmless(piece.removesuffix("\r") if self._held else piece)

    def end(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return harmless(held)
