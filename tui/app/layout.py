"""Breaking marked tokens into lines by words, keeping which token stands where.

Contract: no token is lost or reordered; a word wider than the line is cut. Widths are terminal cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.cells import cell_len

from tui.app.marks import Piece


@dataclass(slots=True)
class Line:
    """One drawn line."""

    pieces: list[Piece] = field(default_factory=list)
    width: int = 0

    def add(self, piece: Piece) -> None:
        """Append a piece and count its cells."""
        self.pieces.append(piece)
        self.width += cell_len(piece.text)


def wrap(pieces: list[Piece], width: int) -> list[Line]:
    """Lines of at most ``width`` cells.

    Args:
        pieces: marked tokens; newlines inside them break the line.
        width: cells, at least 1.
    """
    width = max(1, width)
    lines = [Line()]
    for word in _words(pieces):
        cells = sum(cell_len(piece.text) for piece in word)
        if lines[-1].width and lines[-1].width + cells > width and word[0].text != "\n":
            lines.append(Line())
            if word[0].text.isspace():
                word = [Piece(word[0].token, "", word[0].style), *word[1:]]
        for piece in word:
            if piece.text == "\n":
                lines[-1].pieces.append(Piece(piece.token, "", piece.style))
                lines.append(Line())
            else:
                _place(lines, piece, width)
    return lines


def _place(lines: list[Line], piece: Piece, width: int) -> None:
    text = piece.text
    while lines[-1].width + cell_len(text) > width and text:
        room = width - lines[-1].width
        cut = _fitting(text, room)
        if cut:
            lines[-1].add(Piece(piece.token, text[:cut], piece.style))
            text = text[cut:]
        elif lines[-1].width == 0:  # one character wider than the line: shown alone rather than looped over for ever
            lines[-1].add(Piece(piece.token, text[:1], piece.style))
            text = text[1:]
        lines.append(Line())
    lines[-1].add(Piece(piece.token, text, piece.style))


def _fitting(text: str, room: int) -> int:
    used = 0
    for index, char in enumerate(text):
        used += cell_len(char)
        if used > room:
            return index
    return len(text)


def _words(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces grouped so that a group starts where white space does; newlines stand alone."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        for part in _parts(piece):
            starts = part.text[:1].isspace() or not groups or groups[-1][-1].text.endswith("\n")
            if starts or part.text == "\n":
                groups.append([part])
            else:
                groups[-1].append(part)
    return groups


def _parts(piece: Piece) -> list[Piece]:
    if "\n" not in piece.text and " " not in piece.text.strip(" "):
        return [piece]
    parts: list[Piece] = []
    for number, row in enumerate(piece.text.split("\n")):
        if number:
            parts.append(Piece(piece.token, "\n", piece.style))
        for index, word in enumerate(row.split(" ")):
            text = f" {word}" if index else word
            if text:
                parts.append(Piece(piece.token, text, piece.style))
    return parts or [piece]
