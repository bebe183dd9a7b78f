"""Command lines for vLLM: cards, FP8, several machines."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.plan.levels import layout_for
from backends.plan.serve import Serving, vllm
from tui.commands.plan import plan

GB = 10**9


def serving(model: str, cards: int, gb: int, ctx: int = 8192) -> Serving:
    return vllm(layout_for(model), "owner/model", cards=cards, card_bytes=gb * GB, ctx=ctx)


def flags(found: Serving) -> dict[str, str]:
    words = shlex.split(found.commands[-1])[3:]
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize(
    ("model", "cards", "gb", "split", "kind"),
    [
        ("Qwen3 8B", 1, 24, 1, "bfloat16"),
        ("Qwen3 8B", 1, 16, 1, "fp8"),
        ("Qwen3 8B", 4, 12, 4, "bfloat16"),
        ("Llama 3.3 70B", 4, 80, 4, "bfloat16"),
        ("Llama 3.3 70B", 2, 48, 2, "fp8"),
        ("LLaMA / Saiga 13B", 2, 24, 2, "bfloat16"),
    ],
)
def test_cards_and_precision(model: str, cards: int, gb: int, split: int, kind: str) -> None:
    found = serving(model, cards, gb)
    assert found.fits and found.cards == split
    assert flags(found).get("--tensor-parallel-size", "1") == str(split)
    assert flags(found).get("--quantization", flags(found).get("--dtype")) == kind


def test_several_machines_go_through_ray() -> None:
    found = serving("Llama 3.3 70B", 16, 16)
    assert found.fits and len(found.commands) == 3 and found.commands[0].startswith("ray start --head")
    assert flags(found)["--pipeline-parallel-size"] == "2" and flags(found)["--tensor-parallel-size"] == "8"


def test_only_numbers_that_divide_the_heads_are_used() -> None:
    assert serving("LLaMA 30B", 8, 24).cards == 4  # 52 heads


def test_it_never_refuses() -> None:
    found = serving("LLaMA 65B", 1, 24)
    assert not found.fits and any("expected not to fit" in reason for reason in found.reasons)


def test_the_command() -> None:
    shown = CliRunner().invoke(plan, ["--serve", "vllm", "Qwen/Qwen3-8B", "--cards", "2x24"]).output
    assert shown.startswith("vllm serve Qwen/Qwen3-8B --max-model-len 8192")
    assert CliRunner().invoke(plan, ["--serve", "vllm"]).exit_code == 2
    assert CliRunner().invoke(plan, ["--serve", "vllm", "Qwen/Qwen3-8B", "--cards", "many"]).exit_code == 2


def test_a_folder_that_came_quantized_is_served_as_it_is(tmp_path: Path) -> None:
    from tests.backends.plan.test_folder import folder

    made = folder(tmp_path / "model", quantization_config={"quant_method": "gptq", "bits": 4})
    shown = CliRunner().invoke(plan, ["--serve", "vllm", str(made), "--cards", "1x24"]).output
    assert "at GPTQ, on 1 card" in shown and "--dtype" not in shown and "--quantization" not in shown
