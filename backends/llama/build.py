"""The installed llama.cpp and how it was built, without importing it (which takes 0.3 s)."""

from __future__ import annotations

import importlib.util
import mmap
from functools import cache
from pathlib import Path

_MARK = b"fovea recipe "
"""What ``cmake/wide-steps.cmake`` leaves in the library."""


def libraries(pattern: str) -> list[Path]:
    """The files of the installed llama.cpp whose names match, sorted; none where it is not installed."""
    spec = importlib.util.find_spec("llama_cpp")
    folders = (spec.submodule_search_locations or []) if spec else []
    return [path for folder in folders for path in sorted((Path(folder) / "lib").glob(pattern)) if path.is_file()]


@cache
def prefetches() -> bool:
    """Whether its kernels prefetch in steps of several tokens (``cmake/wide-steps.cmake``).

    Only speed depends on it: the logits are the same.
    """
    return any(_holds_mark(path) for path in libraries("*ggml*cpu*"))


def _holds_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_MARK) >= 0
    except (OSError, ValueError):  # not readable, or empty
        return False
