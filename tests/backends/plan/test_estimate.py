"""The estimates against what llama.cpp reports and takes, on small random models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backends.models.gguf_file import read_model
from backends.models.random_gguf import write_random
from backends.models.shape import Shape
from backends.models.tiers import ensure_tier
from backends.plan.estimate import Run, cache_bytes, cells, estimate, rearranged, scored_tokens
from backends.plan.hardware import detect
from backends.plan.layout import Layer, layout_of, layout_of_shape
from backends.plan.trial import key_of, measure, recall, remember

SMALL = Shape(layers=2, embedding=512, heads=8, kv_heads=2, feed_forward=1536, vocabulary=2000, context=4096)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("plan") / "small.gguf", SMALL)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def features() -> frozenset[str]:
    return detect(Path()).features


@pytest.mark.parametrize(("ctx", "batch", "sequences"), [(512, 512, 4), (4096, 64, 1), (3000, 512, 16)])
def test_buffers_are_those_llama_reports(small: Path, ctx: int, batch: int, sequences: int) -> None:
    run = Run(ctx=ctx, batch=batch, sequences=sequences)
    expected = estimate(layout_of(read_model(small)), run)
    found = measure([small], run, prompt=64)
    by_kind = {what: size for where, what, size in found.buffers if "Mapped" not in where}
    assert by_kind["KV"] == pytest.approx(expected.cache, abs=1e4)
    outputs = 4 * SMALL.vocabulary * max(scored_tokens(SMALL.vocabulary, run), sequences)
    assert by_kind["compute"] == pytest.approx(expected.reserved - outputs, rel=0.05, abs=3e5)


@pytest.mark.parametrize("tier", ["4-bit", "8-bit", "16-bit"])
def test_the_measured_peak_is_near(small: Path, cache: Path, tier: str, features: frozenset[str]) -> None:
    path = ensure_tier(small, tier, cache)
    run = Run(ctx=4096, batch=512, sequences=16, features=features)
    expected = estimate(layout_of(read_model(path)), run)
    found = measure([path], run, prompt=600)
    taken = found.peak - found.interpreter
    assert taken == pytest.approx(expected.peak, rel=0.05, abs=20e6)


def test_rearranged_weights_are_those_llama_copies(small: Path, cache: Path, features: frozenset[str]) -> None:
    path = ensure_tier(small, "4-bit", cache)
    copied = sum(size for where, what, size in measure([path], Run(ctx=256), prompt=8).buffers if where == "CPU_REPACK")
    assert rearranged(layout_of(read_model(path)), features) == pytest.approx(copied, abs=1e5)


def test_sizes_from_a_shape_equal_sizes_from_its_file(small: Path) -> None:
    from_file, from_shape = layout_of(read_model(small)), layout_of_shape(SMALL)
    assert from_file.layers == from_shape.layers
    assert sum(t.bytes for t in from_file.tensors) == sum(t.bytes for t in from_shape.tensors)
    run = Run(ctx=2048)
    a, b = estimate(from_file, run), estimate(from_shape, run)
    assert (a.weights, a.cache, a.work, a.reserved) == (b.weights, b.cache, b.work, b.reserved)


def test_all_experts_count_but_only_those_at_work_compute() -> None:
    dense = layout_of_shape(SMALL)
    mixed = layout_of_shape(replace(SMALL, experts=8, experts_used=2))
    a, b = estimate(dense, Run()), estimate(mixed, Run())
    one = SMALL.layers * 3 * SMALL.embedding * SMALL.feed_forward * 2
    router = SMALL.layers * 8 * SMALL.embedding * 2
    assert b.weights == a.weights + 7 * one + router
    assert a.reserved < b.reserved < 2.5 * a.reserved


def test_cells_are_whole_256() -> None:
    assert [cells(Run(ctx=ctx)) for ctx in (1, 256, 257, 4096)] == [256, 256, 512, 4096]


def test_the_cache_counts_windows_states_and_types() -> None:
    layout = layout_of_shape(SMALL)
    full = cache_bytes(layout, Run(ctx=8192))
    assert full == 2 * 2 * 128 * 8192 * 2
    assert cache_bytes(layout, Run(ctx=8192, cache_type="Q8_0")) == full * 34 // 64
    windowed = replace(layout, window=1024, layers=(Layer(128, 128, windowed=True), Layer(128, 128)))
    assert cache_bytes(windowed, Run(ctx=8192)) == full
    short = cache_bytes(windowed, Run(ctx=8192, sequences=1, full_window=False))
    assert short == full // 2 + 1536 * 256 * 2
    recurrent = replace(layout, layers=(Layer(0, 0, state=1000), Layer(128, 128)))
    assert cache_bytes(recurrent, Run(ctx=8192, sequences=4)) == full // 2 + 4 * 1000 * 4


def test_layers_are_read_from_files(tmp_path: Path) -> None:
    window = {"gemma3.attention.sliding_window": 512}
    shape = Shape(layers=12, architecture="gemma3", extra=window)
    layout = layout_of(read_model(write_random(tmp_path / "window.gguf", shape)))
    assert [at for at, layer in enumerate(layout.layers) if not layer.windowed] == [5, 11]
    assert layout.window == 512
    plain = layout_of(read_model(write_random(tmp_path / "plain.gguf", Shape(layers=2))))
    assert not any(layer.windowed or layer.state for layer in plain.layers)


def test_predicted_tiers_have_the_sizes_of_made_ones(small: Path, cache: Path) -> None:
    source = layout_of(read_model(small))
    for tier, recipe in (("4-bit", "Q4_K_M"), ("8-bit", "Q8_0")):
        made = layout_of(read_model(ensure_tier(small, tier, cache)))
        assert estimate(source.at(recipe), Run()) == estimate(made, Run())


def test_a_trial_that_fails_says_why(tmp_path: Path) -> None:
    from backends.errors import LoadError

    with pytest.raises(LoadError, match="could not be loaded"):
        measure([tmp_path / "missing.gguf"], Run())


def test_measured_figures_are_remembered(tmp_path: Path) -> None:
    memory = tmp_path / "deep" / "measured.json"
    assert recall(memory) == {}
    key = key_of(["abc", "4-bit"], Run(ctx=1024))
    remember(memory, key, 100, 110)
    assert recall(memory)[key]["measured"] == 110 and recall(memory)[key]["predicted"] == 100
    memory.write_text("[1]")
    assert recall(memory) == {}
    remember(tmp_path / "deep" / "measured.json" / "impossible.json", key, 1, 1)
