"""A padded model costs more and says the same, at every tier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.make_shape import filler_vocabulary, make_shape
from bench.pad_model import PadError, Plan, choose_plan, open_source, pad
from training.config import Shape
from training.evaluate import quantize
from training.gguf_file import write_gguf
from training.llama_file import LlamaFile

SHAPE = Shape(vocabulary=600, hidden=256, layers=2, heads=4, kv_heads=2, feed_forward=256, context=128)
TEXT = "The same words, whatever the size: 42."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    make_shape(path, SHAPE, seed=1)
    return path


def logits(path: Path) -> np.ndarray:
    with LlamaFile(path, context=64) as model:
        return model.logits(model.tokens(TEXT))


@pytest.mark.parametrize("hidden", [0, 1024])
@pytest.mark.parametrize("kind", [None, "MOSTLY_BF16", "MOSTLY_Q8_0", "MOSTLY_Q4_K_M"])
def test_wider_says_the_same_at_every_tier(small: Path, tmp_path: Path, kind: str | None, hidden: int) -> None:
    wide = tmp_path / "wide.gguf"
    pad(small, wide, Plan(feed_forward=1024, layers=2, hidden=hidden), seed=3)
    pair = [small, wide]
    if kind:
        for index, path in enumerate(list(pair)):
            pair[index] = tmp_path / f"{index}.gguf"
            quantize(path, kind, pair[index])
    assert np.abs(logits(pair[0]) - logits(pair[1])).max() < 1e-4
    assert pair[1].stat().st_size > 1.5 * pair[0].stat().st_size


def test_more_layers_say_the_same(small: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep.gguf"
    pad(small, deep, Plan(feed_forward=512, layers=4))
    assert np.abs(logits(small) - logits(deep)).max() < 1e-4
    source = open_source(deep)
    assert (source.layers, source.feed_forward) == (4, 512)
    assert source.tensor("blk.3.ffn_down.weight").any() == np.False_
    assert source.tensor("blk.3.ffn_up.weight").any()


def test_the_target_size_is_met_with_whole_blocks(small: Path) -> None:
    for target, extra, hidden in ((20e6, 0, 256), (60e6, 2, 256), (60e6, 0, 1024)):
        plan = choose_plan(open_source(small), target, extra, hidden)
        heads = 4 * hidden // 256
        weights = Shape(
            vocabulary=600, hidden=hidden, layers=plan.layers, heads=heads, kv_heads=heads // 2,
            feed_forward=plan.feed_forward,
        )  # fmt: skip
        assert plan.feed_forward % 256 == 0
        assert weights.parameters == pytest.approx(target, rel=0.05)


def test_the_same_seed_gives_the_same_file(small: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pad(small, tmp_path / name, Plan(512, 2), seed=9, label="x")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_padded_is_refused(small: Path, tmp_path: Path) -> None:
    quantize(small, "MOSTLY_Q8_0", tmp_path / "q8.gguf")
    with pytest.raises(PadError, match="quantized"):
        open_source(tmp_path / "q8.gguf")
    with pytest.raises(PadError, match="smaller"):
        pad(small, tmp_path / "out.gguf", Plan(128, 2))
    with pytest.raises(PadError, match="4, 16"):
        pad(small, tmp_path / "out.gguf", Plan(512, 2, hidden=512))
    assert not (tmp_path / "out.gguf").exists()
    odd = Shape(vocabulary=600, hidden=256, layers=1, heads=4, kv_heads=2, feed_forward=300)
    write_gguf(
        tmp_path / "odd.gguf",
        odd,
        filler_vocabulary(600),
        lambda item: np.zeros(item.shape, dtype=item.type),
        {"name": "odd"},
    )
    with pytest.raises(PadError, match="multiple of 256"):
        open_source(tmp_path / "odd.gguf")
