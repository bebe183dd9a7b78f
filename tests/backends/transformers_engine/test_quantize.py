from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from backends.errors import TierError
from backends.transformers_engine.check import check
from backends.transformers_engine.formats import Quantization
from backends.transformers_engine.load import TransformersOptions, open_stepper
from backends.transformers_engine.quantize import PACKAGES, quantize_folder
from tests.backends.transformers_engine import tiny

for package in ("transformers", "bitsandbytes"):
    if importlib.util.find_spec(package) is None:
        pytest.skip("needs fovea-agent[transformers]", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("sixteen"), tiny.llama_config(), dtype="bfloat16")


@pytest.mark.parametrize(("method", "bits"), [("nf4", 4), ("int8", 8)])
def test_what_is_written_is_what_loading_would_make(folder: Path, tmp_path: Path, method: str, bits: int) -> None:
    made = quantize_folder(folder, method, tmp_path / "out" / method)
    assert made.quantization == Quantization("bitsandbytes", bits)
    assert made.bytes < check(folder).bytes
    assert [p.name for p in (tmp_path / "out").iterdir()] == [method], "nothing else is left behind"
    saved = open_stepper(made.path, TransformersOptions(device="cpu", threads=1, ctx=64))
    fresh = open_stepper(folder, TransformersOptions(device="cpu", threads=1, ctx=64, quant=method))
    ids = saved.tokenize("The eye sees sharply")
    rows = [stepper.prefill(stepper.open(), ids).copy() for stepper in (saved, fresh)]
    np.testing.assert_allclose(rows[0], rows[1], atol=0.05)


def test_an_existing_target_is_kept_unless_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(TierError, match="--force"):
        quantize_folder(folder, "nf4", tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "keep"
    quantize_folder(folder, "nf4", tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "mine").exists() and check(tmp_path / "out").quantization


def test_a_failure_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backends.transformers_engine.quantize._save", full)
    with pytest.raises(TierError, match="No space left on device"):
        quantize_folder(folder, "nf4", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_here(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TierError, match="there are int8, nf4, fp4"):
        quantize_folder(folder, "q4_k_m", tmp_path / "out")
    with pytest.raises(TierError, match="not fitted to a text"):
        quantize_folder(folder, "nf4", tmp_path / "out", text=tmp_path)
    with pytest.raises(TierError, match="no matrix of this model is made of blocks"):
        quantize_folder(folder, "fp8", tmp_path / "out")
    with pytest.raises(TierError, match="replace the model itself"):
        quantize_folder(folder, "nf4", folder, force=True)
    made = quantize_folder(folder, "nf4", tmp_path / "nf4")
    with pytest.raises(TierError, match="is quantized already"):
        quantize_folder(made.path, "int8", tmp_path / "out")


@pytest.mark.parametrize("method", PACKAGES)
def test_a_missing_package_or_text_is_named(
    folder: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.transformers_engine.calibrated.find_spec", lambda name: None)
    with pytest.raises(TierError, match=r"is not installed: pip install 'fovea-agent\[(gptqmodel|autoround)\]'"):
        quantize_folder(folder, method, tmp_path / "out")
    monkeypatch.setattr("backends.transformers_engine.calibrated.find_spec", lambda name: object())
    with pytest.raises(TierError, match="give one with --calibration FILE"):
        quantize_folder(folder, method, tmp_path / "out")
    with pytest.raises(TierError, match="no such file"):
        quantize_folder(folder, method, tmp_path / "out", text=tmp_path / "absent.txt")


def test_what_the_library_says_last_is_the_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys\njob = json.loads(sys.stdin.readline())\nassert os.environ['HF_HUB_OFFLINE'] == '1'\n"
        "sys.stderr.write(f'layers.0: half\\rlayers.1\\nfailed: no {job[\"method\"]} today\\n')\nsys.exit(1)\n"
    )
    monkeypatch.setattr("backends.transformers_engine.calibrated._CHILD", child)
    monkeypatch.setattr("backends.transformers_engine.calibrated.find_spec", lambda name: object())
    text = tmp_path / "text.txt"
    text.write_text("words")
    seen: list[float] = []
    with pytest.raises(TierError, match="to gptq: no gptq today"):
        quantize_folder(folder, "gptq", tmp_path / "out" / "gptq", text=text, progress=seen.append)
    assert seen == [0.0, 0.5]
    assert list((tmp_path / "out").iterdir()) == []


def test_blocks_of_fp8_are_near_the_weights() -> None:
    import torch

    from backends.transformers_engine.fp8 import quantize_blocks

    torch.manual_seed(1)
    weight = torch.randn(256, 128) * torch.tensor([1.0, 100.0]).repeat_interleave(128)[:, None]
    weight[0, 0] = 0.0
    packed, scale = quantize_blocks(weight)
    assert packed.shape == weight.shape and scale.shape == (2, 1)
    back = packed.float() * scale.repeat_interleave(128, 0)
    # Three bits of mantissa: at most 1/16 off, but for the smallest, which lose their last bits.
    assert ((back - weight).abs() <= weight.abs() / 16 + scale.max() * 2**-9).all()
    assert quantize_blocks(torch.zeros(128, 128))[0].float().abs().sum() == 0
