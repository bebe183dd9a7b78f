"""Random shapes are real models to llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.make_shape import SHAPES, byte_alphabet, filler_vocabulary, make_shape
from training.config import Shape
from training.llama_file import LlamaFile

SHAPE = Shape(vocabulary=700, hidden=256, layers=1, heads=4, kv_heads=2, feed_forward=256, context=128)


def test_a_shape_runs_and_splits_any_text(tmp_path: Path) -> None:
    make_shape(tmp_path / "m.gguf", SHAPE, seed=2)
    with LlamaFile(tmp_path / "m.gguf", context=64) as model:
        text = "some text, Ёж 🦊"
        ids = model.tokens(text)
        assert model.llama.detokenize(ids).decode("utf-8") == text
        logits = model.logits(ids)
        assert logits.shape == (len(ids), 700)
        assert np.isfinite(logits).all()
        assert logits.std() > 0.1


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_shape(tmp_path / name, SHAPE, seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_every_shape_takes_k_quants_and_the_large_one_is_large() -> None:
    assert all(shape.k_quants_apply for shape in SHAPES.values())
    assert SHAPES["1.1b"].parameters == pytest.approx(1.03e9, rel=0.03)


def test_vocabulary_has_no_doubles_and_needs_room_for_bytes() -> None:
    vocabulary = filler_vocabulary(32000)
    assert len(set(vocabulary.tokens)) == 32000
    assert len(set(byte_alphabet())) == 256
    with pytest.raises(ValueError, match="no room"):
        filler_vocabulary(100)
