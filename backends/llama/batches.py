"""The batches a prompt is read in."""

from __future__ import annotations

from collections.abc import Iterator

CPU_CHUNK = 128
"""Tokens of a batch on a CPU: wide enough to read at full speed, narrow enough to show progress. Fixed, because results
depend slightly on the width: the same prompt must be read the same way every time."""


def batches(total: int, chunk: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each batch: ``chunk`` tokens, the last one up to half as many more, none more than ``most``.

    A last batch of a few tokens would read all weights once more for them (130 tokens at 16 bits took 5 % longer). The
    split depends on the counts alone, so that reading is repeatable.
    """
    start = 0
    while total - start > min(chunk + chunk // 2, most):
        yield start, start + chunk
        start += chunk
    if start < total:
        yield start, total
