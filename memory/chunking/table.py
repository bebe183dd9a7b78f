"""The structure of CSV: every chunk is whole rows, and carries the column names in its heading path."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from memory.chunking.blocks import Block

_SNIFFED = 8192
_HEADER = 300
_DELIMITERS = ",;\t|"


def csv_blocks(text: str) -> Iterator[Block]:
    """Yield one block a row; a quoted field may run over several lines."""
    lines = text.splitlines(keepends=True)
    delimiter = _delimiter(text[:_SNIFFED])
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    reader = csv.reader(lines, delimiter=delimiter)
    header, first = "", 0
    try:
        for number, row in enumerate(reader):
            if number == 0:
                header = " | ".join(cell.strip() for cell in row if cell.strip())[:_HEADER]
            yield Block(starts[first], starts[reader.line_num], "table", (), header)
            first = reader.line_num
    except csv.Error:
        # An unclosed quote or a field beyond the module's bound: the rest is taken line by line.
        for number in range(first, len(lines)):
            yield Block(starts[number], starts[number + 1], "table", (), header)


def _delimiter(sample: str) -> str:
    """The delimiter that stands most evenly in the first lines."""
    lines = [line for line in sample.splitlines()[:20] if line.strip()]
    best, score = ",", 0
    for candidate in _DELIMITERS:
        counts = [line.count(candidate) for line in lines]
        even = min(counts, default=0)
        if even > score:
            best, score = candidate, even
    return best
