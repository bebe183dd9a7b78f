from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from backends.errors import LoadError, ModelFileError
from backends.transformers_engine.load import TransformersOptions, open_stepper
from backends.types import EIGHT, FOUR, SIXTEEN, LadderSpec, TierSpec
from tests.backends.transformers_engine import tiny

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs fovea-agent[transformers]", allow_module_level=True)

CPU = TransformersOptions(device="cpu", threads=1, ctx=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save_model(tmp_path, tiny.llama_config())


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_tier_names_choose_the_quantization(tmp_path: Path) -> None:
    ladder = LadderSpec((), ctx=100, n_parallel=3, threads=2)
    quants = [TransformersOptions.of(TierSpec(name, tmp_path), ladder).quant for name in (FOUR, EIGHT, SIXTEEN, "q5")]
    assert quants == ["nf4", "int8", "none", "none"]
    chosen = TransformersOptions.of(TierSpec(FOUR, tmp_path, options={"quant": "fp4", "dtype": "bf16"}), ladder)
    assert (chosen.quant, chosen.dtype, chosen.ctx, chosen.threads) == ("fp4", "bf16", 100, 2)
    assert chosen.sequences > 3


def test_unknown_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="quant: 'int3' of a transformers tier is none of none, int8, nf4, fp4"):
        TransformersOptions.of(TierSpec(FOUR, tmp_path, options={"quant": "int3"}), LadderSpec(()))


def test_a_card_that_is_not_there(folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(LoadError, match=r"sees no CUDA card here\. Set device: cpu"):
        open_stepper(folder, TransformersOptions(device="cuda"))


def test_code_in_the_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    (folder / "configuration_evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass EvilConfig: pass\n")
    auto = {"AutoConfig": "configuration_evil.EvilConfig", "AutoModelForCausalLM": "modeling_evil.Evil"}
    edit(folder, model_type="evil", auto_map=auto)
    with pytest.raises(LoadError, match="Python code of its own, which fovea never runs"):
        open_stepper(folder, CPU)
    assert not marker.exists()


def test_native_code_is_used_where_a_folder_brings_some_for_a_known_type(folder: Path) -> None:
    edit(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    stepper = open_stepper(folder, CPU)
    assert stepper.facts.architecture == "llama"
    stepper.close()


@pytest.mark.parametrize("method", ["gptq", "awq", "auto-round", "compressed-tensors", "fbgemm_fp8"])
def test_a_quantized_checkpoint_names_the_missing_package_or_card(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("backends.transformers_engine.formats.find_spec", lambda name: None)
    edit(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(LoadError, match=r"pip install|NVIDIA card") as caught:
        open_stepper(folder, CPU)
    assert "\n" not in str(caught.value)


def test_quantizing_twice_is_refused(folder: Path) -> None:
    edit(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(LoadError, match=r"already quantized \(bitsandbytes\)"):
        open_stepper(folder, TransformersOptions(device="cpu", quant="nf4"))


@pytest.mark.parametrize(("method", "own"), [("nf4", FOUR), ("int8", EIGHT)])
def test_a_quantized_folder_is_one_tier_of_a_ladder(folder: Path, tmp_path: Path, method: str, own: str) -> None:
    from backends.transformers_engine.quantize import quantize_folder

    folder = quantize_folder(folder, method, tmp_path / method).path
    for name in (FOUR, EIGHT, SIXTEEN):
        options = TransformersOptions.of(TierSpec(name, folder), LadderSpec((), ctx=64, threads=1))
        if name == own:
            open_stepper(folder, options).close()
            continue
        with pytest.raises(LoadError, match=rf"holds {own} weights \(bitsandbytes\); it has no {name} tier"):
            open_stepper(folder, options)


def test_a_bitsandbytes_checkpoint_loads_as_it_is(tmp_path: Path, folder: Path) -> None:
    """Saved in nf4, loaded again without any option."""
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, device_map={"": "cpu"})
    target = tmp_path / "nf4"
    model.save_pretrained(target)
    tiny.byte_tokenizer().save_pretrained(target)
    saved, fresh = (
        open_stepper(target, CPU),
        open_stepper(folder, TransformersOptions(device="cpu", quant="nf4", ctx=64)),
    )
    ids = saved.tokenize("The eye sees")
    assert saved.prefill(saved.open(), ids).argmax() == fresh.prefill(fresh.open(), ids).argmax()
    assert saved.facts.bytes == pytest.approx(fresh.facts.bytes, rel=0.05)


def test_a_cut_off_file_is_found_before_loading(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match="incomplete"):
        open_stepper(folder, CPU)


def test_tensors_that_do_not_fit_the_config(folder: Path) -> None:
    edit(folder, hidden_size=32)
    with pytest.raises(ModelFileError, match=r"have another shape than config\.json says"):
        open_stepper(folder, CPU)


def test_tensors_that_are_missing(folder: Path) -> None:
    edit(folder, num_hidden_layers=3)
    with pytest.raises(ModelFileError, match="lacks"):
        open_stepper(folder, CPU)


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LoadError) as caught:
        open_stepper(folder, CPU)
    assert "\n" not in str(caught.value)


def test_an_embedder_is_not_a_language_model(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=384, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(tmp_path)
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelFileError, match="is it a model that writes text"):
        open_stepper(tmp_path, CPU)
