from __future__ import annotations

from pathlib import Path

import pytest

from backends.models.random_gguf import Shape, write_random
from backends.models.tiers import make_quant


@pytest.fixture(scope="session")
def tiny_tiers(tmp_path_factory) -> dict[str, Path]:
    """A small random model at 16, 8 and 4 bits."""
    folder = tmp_path_factory.mktemp("tiny")
    sixteen = write_random(folder / "tiny.gguf", Shape(layers=3, vocabulary=512, context=2048), seed=1)
    return {
        "16-bit": sixteen,
        "8-bit": make_quant(sixteen, "Q8_0", folder / "tiny-q8_0.gguf"),
        "4-bit": make_quant(sixteen, "Q4_K_M", folder / "tiny-q4_k_m.gguf"),
    }
