from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import pytest

from backends.errors import ModelFileError
from backends.plan.estimate import Run, estimate
from backends.plan.folder import lacking, tiers_of_folder

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 256,
    "max_position_embeddings": 1024,
}  # fmt: skip
EMBEDDING, MATRIX, NORM = 256 * 64, 64 * 64, 64


def folder(path: Path, kind: str = "BF16", **changes: Any) -> Path:
    """A checkpoint of zeros: one matrix and one norm in each of two layers, embeddings and a head."""
    sizes = {"BF16": 2, "F8_E4M3": 1}
    shapes = {"model.embed_tokens.weight": ([256, 64], "BF16"), "lm_head.weight": ([256, 64], "BF16")}
    for at in (0, 1):
        shapes[f"model.layers.{at}.self_attn.q_proj.weight"] = ([64, 64], kind)
        shapes[f"model.layers.{at}.input_layernorm.weight"] = ([64], "BF16")
    header, end = {}, 0
    for name, (shape, dtype) in shapes.items():
        begin, end = end, end + prod(shape) * sizes[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    path.mkdir()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(end))
    (path / "config.json").write_text(json.dumps(CONFIG | changes))
    return path


def test_only_the_inner_matrices_shrink(tmp_path: Path) -> None:
    tiers = tiers_of_folder(folder(tmp_path / "model"))
    rest = 2 * (2 * EMBEDDING + 2 * NORM)
    weights = {name: layout.sums.weights for name, (layout, _, _) in tiers.items()}
    assert weights == {
        "4-bit": rest + 2 * MATRIX * 36 // 64,
        "8-bit": rest + 2 * MATRIX,
        "16-bit": rest + 4 * MATRIX,
    }
    layout = tiers["16-bit"][0]
    assert layout.sums.head == 2 * EMBEDDING and layout.sums.inner == 4 * MATRIX + 4 * NORM
    # two sequences, two layers, keys and values of two heads of 16, two bytes each
    assert estimate(layout, Run(ctx=512)).cache == 2 * 2 * 2 * 2 * 16 * 512 * 2


def test_a_quantized_folder_is_one_tier_and_unpacked_without_a_card(tmp_path: Path) -> None:
    made = folder(tmp_path / "fp8", "F8_E4M3", quantization_config={"quant_method": "fp8"})
    (unpacked,), (packed,) = tiers_of_folder(made).items(), tiers_of_folder(made, card=True).items()
    assert unpacked[0] == packed[0] == "8-bit" and "unpacked" in unpacked[1][1]
    assert unpacked[1][0].sums.weights - packed[1][0].sums.weights == 2 * MATRIX


def test_recurrent_layers_keep_no_keys(tmp_path: Path) -> None:
    layers = tiers_of_folder(folder(tmp_path / "lfm", layer_types=["conv", "full_attention"]))["16-bit"][0].layers
    assert (layers[0].keys, layers[1].keys) == (0, 2 * 2 * 16) and layers[0].state


def test_a_config_without_sizes_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"config\.json: says nothing of layers"):
        tiers_of_folder(folder(tmp_path / "model", hidden_size="wide"))


def test_what_is_missing_to_run_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = folder(tmp_path / "plain")
    gptq = folder(tmp_path / "gptq", quantization_config={"quant_method": "gptq", "bits": 4})
    aqlm = folder(tmp_path / "aqlm", quantization_config={"quant_method": "aqlm"})
    monkeypatch.setattr("backends.transformers_engine.formats.find_spec", lambda name: object())
    assert lacking(plain) == lacking(gptq) == ""
    assert "NVIDIA card" in lacking(aqlm) and lacking(aqlm, card=True) == ""
    monkeypatch.setattr("backends.transformers_engine.formats.find_spec", lambda name: None)
    assert "torch and transformers" in lacking(plain) and "fovea-agent[transformers]" in lacking(plain)
    assert "fovea-agent[transformers,gptqmodel]" in lacking(gptq)
