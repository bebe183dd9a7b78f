"""Checkpoints that came quantized pass the contract of every Stepper.

Two are made here. Others, made by their own programs, are given by hand:

    FOVEA_CHECKPOINTS=/folder/one:/folder/two python -m pytest tests/backends/transformers_engine/test_checkpoints.py
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from backends.errors import LoadError
from backends.transformers_engine.load import TransformersOptions, open_stepper
from tests.backends.contract import Make, StepperContract
from tests.backends.transformers_engine import tiny
from tests.backends.transformers_engine.test_stepper import opener

for package in ("transformers", "compressed_tensors"):
    if importlib.util.find_spec(package) is None:
        pytest.skip("needs fovea-agent[transformers]", allow_module_level=True)

GIVEN = [Path(folder) for folder in os.environ.get("FOVEA_CHECKPOINTS", "").split(os.pathsep) if folder]


class TestFp8(StepperContract):
    """Made by ``fovea models quantize``; unpacked while loading, as there is no card."""

    ATOL = 0.2

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        from backends.transformers_engine.quantize import quantize_folder

        room = tmp_path_factory.mktemp("fp8")
        config = tiny.llama_config(hidden_size=128, intermediate_size=256, num_key_value_heads=4, initializer_range=0.1)
        plain = tiny.save_model(room / "plain", config, dtype="bfloat16")
        made = quantize_folder(plain, "fp8", room / "fp8")
        assert made.quantization is not None and made.quantization.bits == 8
        return opener(made.path, device="cpu")


class TestCompressedTensors(StepperContract):
    """Eight-bit integers with a scale for each row, as llm-compressor writes them; activations are rounded too."""

    ATOL = 0.2

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        return opener(compressed(tmp_path_factory.mktemp("compressed")), device="cpu")


if GIVEN:

    class TestGiven(StepperContract):
        ATOL: ClassVar[float] = 0.3

        @pytest.fixture(scope="class", params=GIVEN, ids=lambda path: path.name)
        def make(self, request: pytest.FixtureRequest) -> Make:
            return opener(request.param, device="cpu")


def compressed(folder: Path) -> Path:
    """A tiny model whose inner matrices are int8, rounded to the nearest."""
    import torch
    from safetensors.torch import load_file, save_file

    tiny.save_model(folder, tiny.llama_config())
    tensors = load_file(folder / "model.safetensors")
    for name in [n for n in tensors if n.startswith("model.layers.") and n.endswith("proj.weight")]:
        weight = tensors[name]
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        tensors[name] = (weight / scale).round().to(torch.int8)
        tensors[name + "_scale"] = scale
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    inputs = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "format": "int-quantized"}
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_it_stays_near_the_weights_it_was_made_of(tmp_path: Path) -> None:
    import numpy as np

    made = open_stepper(compressed(tmp_path / "int8"), TransformersOptions(device="cpu", threads=1, ctx=64))
    plain = open_stepper(
        tiny.save_model(tmp_path / "plain", tiny.llama_config()), TransformersOptions(device="cpu", threads=1, ctx=64)
    )
    ids = plain.tokenize("The eye sees sharply only where it looks")
    rows = [stepper.prefill(stepper.open(), ids).copy() for stepper in (made, plain)]
    assert not np.array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[1]).max() < 0.2 * rows[1].std() * 5


def test_what_fails_at_the_first_token_is_said_while_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaForCausalLM

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("expected m1 and m2 to have the same dtype, but got: c10::Half != c10::BFloat16")

    monkeypatch.setattr(LlamaForCausalLM, "forward", refuse)
    with pytest.raises(LoadError, match="dtype: bf16"):
        open_stepper(compressed(tmp_path / "int8"), TransformersOptions(device="cpu", threads=1, ctx=64))
