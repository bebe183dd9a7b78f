from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import ModelFileError
from backends.transformers_engine.check import check
from backends.transformers_engine.formats import NEEDS, Quantization, missing, recognise
from backends.transformers_engine.safetensors_header import read_header


def header(table: dict[str, Any], data: int) -> bytes:
    raw = json.dumps(table).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


GOOD = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "F32", "shape": [4], "data_offsets": [12, 28]},
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    (tmp_path / "model.safetensors").write_bytes(header(GOOD, 28))
    return tmp_path


def test_a_whole_folder(folder: Path) -> None:
    found = check(folder)
    assert (found.architecture, found.model_type, found.bytes, found.dtype) == ("LlamaForCausalLM", "llama", 28, "F32")
    assert [tensor.name for tensor in found.tensors] == ["a", "b"]
    assert found.quantization is None and not found.custom_code


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, backends.transformers_engine.load as _; sys.exit(bool({'torch', 'transformers'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def change(name: str, **fields: Any) -> dict[str, Any]:
    return GOOD | {name: GOOD[name] | fields}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes"),
        (b"\x01\x02", "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "header is damaged"),
        (struct.pack("<Q", 5000) + b"{}", "header is damaged"),
        (struct.pack("<Q", 4) + b"\xff\xfe{}", "header is damaged"),
        (struct.pack("<Q", 4) + b"[1]\n", "not an object"),
        (header(GOOD, 20), "incomplete"),
        (header(GOOD, 29), "1 bytes follow"),
        (header(change("a", dtype="F13"), 28), "unknown type 'F13'"),
        (header(change("a", shape=[2, -3]), 28), "no proper shape"),
        (header(change("a", shape=[2, True]), 28), "no proper shape"),
        (header(change("a", shape=[5]), 28), "shape and size do not agree"),
        (header(change("a", data_offsets=[0]), 28), "no proper offsets"),
        (header(change("b", data_offsets=[10, 26]), 28), "overlaps another or leaves a hole"),
        (header({"a": {"dtype": "F32"}}, 0), "header is damaged"),
        (header({"a": 7}, 0), "header is damaged"),
    ],
)
def test_a_broken_safetensors_file_gives_one_clear_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=says) as caught:
        read_header(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text and text.endswith("Download it again.")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_gives_anything_but_a_model_file_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(header(GOOD, 28))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(cut)
    try:
        tensors = read_header(path)
    except ModelFileError as error:
        assert "\n" not in str(error)
    else:
        assert sum(t.end - t.begin for t in tensors) <= len(cut)


def test_pickled_weights_are_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04}q\x00.")
    with pytest.raises(ModelFileError, match=r"pytorch_model\.bin is a Python pickle, which can run any program"):
        check(folder)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "missing"),
        ("{", "not valid JSON"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        ('{"quantization_config": {"quant_method": "vodoo"}}', "unknown quantization 'vodoo'"),
        ('{"quantization_config": 4}', "not an object"),
    ],
)
def test_a_bad_config(folder: Path, config: str | bytes | None, says: str) -> None:
    path = folder / "config.json"
    path.unlink()
    if config is not None:
        path.write_bytes(config if isinstance(config, bytes) else config.encode())
    with pytest.raises(ModelFileError, match=says) as caught:
        check(folder)
    assert "\n" not in str(caught.value)


def test_missing_things(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelFileError, match="not a folder"):
        check(tmp_path / "nowhere")
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with pytest.raises(ModelFileError, match=r"Rename it to model\.safetensors"):
        check(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelFileError, match="Is the download complete"):
        check(folder)


def shard(folder: Path, *names: str) -> None:
    table = {f"t{i}": name for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def test_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    shard(folder, "part-1.safetensors", "part-2.safetensors")
    with pytest.raises(ModelFileError, match=r"1 of 2 weight files are missing, first part-2\.safetensors"):
        check(folder)
    (folder / "part-2.safetensors").write_bytes(header({"c": {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]}}, 3))
    assert check(folder).bytes == 31


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd", "evil.bin", "a/b.safetensors"])
def test_an_index_cannot_point_elsewhere(folder: Path, name: str) -> None:
    shard(folder, name)
    with pytest.raises(ModelFileError, match="It is not opened"):
        check(folder)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, Quantization("gptq", 4, 128)),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}, Quantization("awq", 4, 64)),
        ({"quant_method": "intel/auto-round", "bits": 2, "group_size": 32}, Quantization("auto-round", 2, 32)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Quantization("fp8", 8)),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, Quantization("bitsandbytes", 4)),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            Quantization("compressed-tensors", 8),
        ),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 8, "group_size": 64}}},
            Quantization("hqq", 8),
        ),
        (
            {
                "quant_method": "hqq",
                "quant_config": {"scale_quant_params": {"nbits": 8}, "weight_quant_params": {"nbits": 4}},
            },
            Quantization("hqq", 4),
        ),
        ({"quant_method": "quanto", "weights": "int4", "activations": None}, Quantization("quanto", 4)),
        ({"quant_method": "quanto", "weights": "float8"}, Quantization("quanto", 8)),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, Quantization("torchao", 8)),
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "group_size": 128}},
            },
            Quantization("torchao", 4),
        ),
        (
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8DynamicActivationInt4WeightConfig"}}},
            Quantization("torchao", 4),
        ),
        (
            {"quant_method": "torchao", "quant_type": "float8_dynamic_activation_float8_weight"},
            Quantization("torchao", 8),
        ),
        ({"quant_method": "torchao", "quant_type": ["int128"]}, Quantization("torchao", 0)),
        ({"quant_method": "eetq"}, Quantization("eetq", 8)),
        ({"quant_method": "gptq", "bits": "many", "group_size": -1}, Quantization("gptq", 0)),
    ],
)
def test_quantization_is_recognised(declared: dict[str, Any], expected: Quantization) -> None:
    assert recognise({"quantization_config": declared}, "config.json") == expected
    assert recognise({"text_config": {"quantization_config": declared}}, "config.json") == expected


def test_every_method_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.transformers_engine.formats.find_spec", lambda name: None)
    for method, need in NEEDS.items():
        text = missing(Quantization(method, 4), capability=9.0)
        assert need.name in text and all(f"{package}" in text for _, package in need.packages)
        assert "pip install" in text


def test_a_method_that_wants_a_card_says_which() -> None:
    assert "capability 9.0" in missing(Quantization("fbgemm_fp8", 8), capability=None)
    assert "this one has 8.6" in missing(Quantization("fbgemm_fp8", 8), capability=8.6)


def test_a_folder_that_is_no_checkpoint_is_not_blamed_for_its_config(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model in this folder"):
        check(tmp_path)
    (tmp_path / "some.gguf").touch()
    with pytest.raises(ModelFileError, match=r"name the file in it: .*some\.gguf$"):
        check(tmp_path)


def test_the_context_and_the_own_tier(folder: Path) -> None:
    assert check(folder).context == 0 and check(folder).own_tier == ""
    config = {"model_type": "llama", "text_config": {"max_position_embeddings": 2048}}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    assert check(folder).context == 2048 and check(folder).own_tier == "8-bit"
