"""Which ladder is chosen on which machine, and that the plan says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.plan.choose import choose
from backends.plan.fit import Tiers, Wishes
from backends.plan.hardware import Gpu, Hardware, detect
from backends.plan.layout import layout_of_shape
from backends.plan.levels import guide, layout_for

GB = 10**9
NO_EMBEDDER = Wishes(embedder=False)


def tiers(name: str = "Llama 3.1 8B") -> Tiers:
    layout = layout_for(name)
    return {
        "4-bit": (layout.at("Q4_K_M"), "Q4_K_M", None),
        "8-bit": (layout.at("Q8_0"), "Q8_0", None),
        "16-bit": (layout, "F16", Path("model.gguf")),
    }


def machine(ram: float, *cards: float, built: tuple[str, ...] = ("cuda",), kind: str = "nvidia") -> Hardware:
    gpus = tuple(Gpu(f"card {at}", kind, int(size * GB), int(size * GB)) for at, size in enumerate(cards))
    total = int(ram * GB)
    return Hardware("test", 4, frozenset({"avx2"}), total, total, 0, 10**12, gpus, frozenset(built))


@pytest.mark.parametrize(
    ("ram", "chosen", "says"),
    [
        (64, ("4-bit", "8-bit", "16-bit"), "everything fits together"),
        (26, ("4-bit", "16-bit"), "8-bit does not fit beside both"),
        (20, ("4-bit", "8-bit"), "16-bit does not fit beside 4-bit: 8-bit is the closer look"),
        (9, ("4-bit",), "4-bit alone"),
    ],
)
def test_the_ladder_shrinks_with_the_memory(ram: float, chosen: tuple[str, ...], says: str) -> None:
    plan = choose(tiers(), machine(ram), NO_EMBEDDER)
    assert plan.chosen == chosen and plan.fits and plan.needed <= plan.budget
    assert any(says in reason for reason in plan.reasons)
    assert plan.run.ctx == 4096 and plan.n_gpu_layers == 0


def test_it_never_refuses() -> None:
    plan = choose(tiers(), machine(2), NO_EMBEDDER)
    assert plan.chosen == ("4-bit",) and not plan.fits and plan.smaller == ()
    assert any("expected not to fit" in reason and "tried all the same" in reason for reason in plan.reasons)


def test_a_shorter_ctx_is_chosen_where_the_cache_is_what_is_too_much() -> None:
    plan = choose(tiers("LLaMA / Saiga 13B"), machine(11.6), NO_EMBEDDER)
    assert plan.fits and plan.chosen == ("4-bit",) and plan.run.ctx < 4096
    assert any("instead of 4,096" in reason for reason in plan.reasons)
    fixed = choose(tiers("LLaMA / Saiga 13B"), machine(11.6), Wishes(ctx=4096, embedder=False))
    assert not fixed.fits and fixed.run.ctx == 4096


def test_the_next_smaller_ladder_is_named() -> None:
    plan = choose(tiers(), machine(64), NO_EMBEDDER)
    assert plan.smaller == ("4-bit", "16-bit")
    assert choose(tiers(), machine(26), NO_EMBEDDER).smaller == ("4-bit", "8-bit")


def test_ctx_is_capped_at_what_the_model_was_trained_for() -> None:
    plan = choose(tiers("TinyLlama 1.1B"), machine(64), Wishes(ctx=100_000, embedder=False))
    assert plan.run.ctx == 2048
    assert any("trained for: 2,048" in reason for reason in plan.reasons)


def test_more_sequences_and_bigger_caches_need_more() -> None:
    base = choose(tiers(), machine(64), NO_EMBEDDER).needed
    assert choose(tiers(), machine(64), Wishes(ctx=16384, embedder=False)).needed > base
    assert choose(tiers(), machine(64), Wishes(cache_type="Q8_0", embedder=False)).needed < base
    assert choose(tiers(), machine(64), Wishes(embedder=True)).needed > base + 500_000_000


def test_what_would_help_is_said() -> None:
    plan = choose(tiers("LLaMA 7B"), machine(21.5), Wishes(embedder=False))
    assert any("--ctx 2048" in reason or "more than is available" in reason for reason in plan.reasons)


# Graphics cards ------------------------------------------------------------------------------------------------------


def test_everything_on_a_large_card() -> None:
    plan = choose(tiers(), machine(64, 48), NO_EMBEDDER)
    assert plan.n_gpu_layers == -1 and plan.tensor_split == ()
    assert plan.card_needed <= 48 * GB and plan.needed < 8 * GB
    assert any("every layer" in reason for reason in plan.reasons)


def test_some_layers_on_a_small_card() -> None:
    plan = choose({"4-bit": tiers()["4-bit"]}, machine(16, 4), NO_EMBEDDER)
    assert 0 < plan.n_gpu_layers < 32
    assert plan.card_needed <= 4 * GB - 600_000_000
    assert any("layers of each tier fit on the graphics card" in reason for reason in plan.reasons)


def test_two_cards_are_split_by_their_free_memory() -> None:
    plan = choose({"16-bit": tiers("Qwen3 32B")["16-bit"]}, machine(128, 48, 24.3), NO_EMBEDDER)
    assert len(plan.tensor_split) == 2 and sum(plan.tensor_split) == pytest.approx(1, abs=0.02)
    assert plan.tensor_split[0] == pytest.approx(2 * plan.tensor_split[1], rel=0.05)


def test_a_card_llama_was_not_built_for_is_named_and_left_alone() -> None:
    plan = choose(tiers(), machine(64, 24, built=()), NO_EMBEDDER)
    assert plan.n_gpu_layers == 0 and plan.card_needed == 0
    assert any("built without support" in reason for reason in plan.reasons)
    assert machine(64, 24, built=("vulkan",), kind="amd").usable_gpus
    assert not machine(64, 24, built=("cuda",), kind="amd").usable_gpus


def test_a_full_card_is_not_used() -> None:
    plan = choose(tiers(), machine(64, 0.5), NO_EMBEDDER)
    assert plan.n_gpu_layers == 0


# This machine, and the guide -----------------------------------------------------------------------------------------


def test_this_machine_is_detected(tmp_path: Path) -> None:
    found = detect(tmp_path / "not" / "there")
    assert 0 < found.available <= found.memory and found.cores >= 1 and found.disk_free > 0


def test_a_container_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("500000000\n")
    monkeypatch.setattr("backends.plan.hardware._CGROUP", tmp_path)
    found = detect(tmp_path)
    assert found.memory == 2 * GB and found.available <= 1.5 * GB and found.container_limit == 2 * GB
    (tmp_path / "memory.max").write_text("max\n")
    assert detect(tmp_path).container_limit == 0


def test_amd_cards_are_found_in_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "card0" / "device"
    card.mkdir(parents=True)
    (card / "mem_info_vram_total").write_text("16000000000\n")
    (card / "mem_info_vram_used").write_text("1000000000\n")
    monkeypatch.setattr("backends.plan.hardware._DRM", tmp_path)
    assert [(gpu.kind, gpu.total, gpu.free) for gpu in detect(tmp_path).gpus if gpu.kind == "amd"] == [
        ("amd", 16 * GB, 15 * GB)
    ]


def test_the_guide_is_computed_and_complete() -> None:
    page = guide()
    for words in ("LLaMA 65B", "TinyLlama 1.1B", "Phi-2", "two of 24 GB", "Where the original notes differ"):
        assert words in page
    row = next(line for line in page.splitlines() if line.startswith("| LLaMA 7B |"))
    assert "6,738" in row and float(row.split("|")[3]) == pytest.approx(15.8, abs=0.3)


def test_weights_counts_match_the_models_names() -> None:
    for name, count in (("LLaMA 65B", 65.3e9), ("Mistral 7B", 7.25e9), ("Qwen3 0.6B", 0.596e9), ("Phi-2 2.7B", 2.78e9)):
        assert sum(tensor.elements for tensor in layout_for(name).tensors) == pytest.approx(count, rel=0.01)


def test_a_model_of_one_odd_tier_is_planned_too() -> None:
    from backends.models.shape import Shape

    layout = layout_of_shape(Shape())
    plan = choose({"q6_k": (layout, "Q6_K", Path("x.gguf"))}, machine(8), NO_EMBEDDER)
    assert plan.chosen == ("q6_k",) and plan.fits


def test_the_committed_guide_is_what_the_code_computes() -> None:
    page = Path(__file__).parents[3] / "hardware_levels.md"
    assert page.read_text(encoding="utf-8") == guide(), "run `fovea plan --levels`"
