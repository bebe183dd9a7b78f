"""The model inside the package: one 16-bit GGUF, so that everything runs with no download.

How it was trained and how weak it is: MODEL_CARD.md at the top of the source tree. Its 4-bit and 8-bit tiers are made
on first use, in the cache folder.
"""

from __future__ import annotations

from pathlib import Path

FILE_NAME = "pocket-F16.gguf"
MODEL_CARD = "MODEL_CARD.md"


def path() -> Path:
    """Where the built-in model lies.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    file = Path(__file__).parent / FILE_NAME
    if not file.is_file():
        raise FileNotFoundError(
            f"the built-in model {file} is missing; install fovea again, or choose a model with --model"
        )
    return file
