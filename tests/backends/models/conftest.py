"""Tiny models with random weights, made once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.models.random_gguf import write_random
from backends.models.shape import Shape


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-bit Llama-shaped model of 2.7 MB whose rows allow K-quants."""
    return write_random(tmp_path_factory.mktemp("models") / "tiny-F16.gguf")


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-bit model whose rows of 96 are too short for K-quants."""
    return write_random(tmp_path_factory.mktemp("models") / "narrow.gguf", Shape(embedding=96, feed_forward=192))
