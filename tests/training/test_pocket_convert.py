"""What is shipped says what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training.config import Shape
from training.convert import conversion_errors, load_checkpoint, write_hugging_face, write_model_gguf
from training.evaluate import quantize
from training.formats import CHAT_TEMPLATE, Message, render
from training.llama_file import LlamaFile
from training.model import Pocket
from training.parity import SAMPLE_TEXTS, compare_tokens
from training.tokenizer import load_tokenizer
from training.unpack import read_model, write_tokenizer

SHAPE = Shape(vocabulary=512, hidden=256, layers=2, heads=4, kv_heads=2, feed_forward=256, context=256)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose blocks all say something."""
    torch.manual_seed(5)
    model = Pocket(SHAPE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.05 if "embed" in name or parameter.ndim == 2 else 0.1))
    folder = tmp_path_factory.mktemp("run")
    shape = {name: getattr(SHAPE, name) for name in SHAPE.__slots__}
    torch.save({"shape": shape, "model": model.state_dict()}, folder / "checkpoint.pt")
    return folder


def test_the_gguf_equals_the_model(run: Path, tokenizer_path: Path, tmp_path: Path) -> None:
    model = load_checkpoint(run / "checkpoint.pt")
    tokenizer = load_tokenizer(tokenizer_path)
    gguf = tmp_path / "m.gguf"
    write_model_gguf(model, tokenizer_path, gguf, "test")
    assert compare_tokens(gguf, tokenizer, SAMPLE_TEXTS) == []
    errors = conversion_errors(model, gguf, tokenizer_path)
    assert errors["32-bit file, 32-bit cache"] < 1e-4
    assert errors["16-bit file, 32-bit cache"] < 1e-2
    assert errors["16-bit file, 16-bit cache"] < 2e-2
    assert not list(tmp_path.glob("*.part"))


def test_hugging_face_loads_the_same_model(run: Path, tokenizer_path: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = load_checkpoint(run / "checkpoint.pt")
    write_hugging_face(model, tokenizer_path, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    messages = [Message("system", "Be kind."), Message("user", "Привет, what's 12+3?")]
    prompt = render(messages, generation_prompt=True)
    ids = tokenizer(prompt)["input_ids"]
    assert ids == load_tokenizer(tokenizer_path).encode(prompt).ids
    with torch.no_grad():
        torch.testing.assert_close(theirs(torch.tensor([ids])).logits, model(torch.tensor([ids])), rtol=1e-4, atol=1e-4)
    chat = [{"role": message.role, "content": message.text} for message in messages]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == prompt


def test_the_gguf_tells_about_itself_and_quantizes(run: Path, tokenizer_path: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    write_model_gguf(load_checkpoint(run / "checkpoint.pt"), tokenizer_path, path, "7")
    fields = gguf.GGUFReader(str(path)).fields
    assert fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE
    assert fields["general.license"].contents() == "cc-by-sa-4.0"
    assert fields["general.version"].contents() == "7"
    quantize(path, "MOSTLY_Q4_K_M", tmp_path / "q4.gguf")
    kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(str(tmp_path / "q4.gguf")).tensors}
    assert kinds == {"Q4_K", "Q6_K", "F32"}
    with LlamaFile(tmp_path / "q4.gguf", context=64) as llama:
        assert llama.logits(llama.tokens("hello")).shape[1] == SHAPE.vocabulary


def test_shapes_without_k_quants_are_refused(tokenizer_path: Path, tmp_path: Path) -> None:
    narrow = Pocket(Shape(vocabulary=512, hidden=128, layers=1, heads=2, kv_heads=2, feed_forward=256))
    with pytest.raises(ValueError, match="multiples of 256"):
        write_model_gguf(narrow, tokenizer_path, tmp_path / "m.gguf", "1")
    assert not (tmp_path / "m.gguf").exists()
    other = Pocket(Shape(vocabulary=500, hidden=256, layers=1, heads=2, kv_heads=2, feed_forward=256))
    with pytest.raises(ValueError, match="512 tokens"):
        write_model_gguf(other, tokenizer_path, tmp_path / "m.gguf", "1")


def test_stored_shape_is_readable(run: Path, tokenizer_path: Path, tmp_path: Path) -> None:
    write_hugging_face(load_checkpoint(run / "checkpoint.pt"), tokenizer_path, tmp_path)
    assert Shape(**json.loads((tmp_path / "shape.json").read_text(encoding="utf-8"))) == SHAPE


def test_a_gguf_unpacks_to_what_it_was_made_from(run: Path, tokenizer_path: Path, tmp_path: Path) -> None:
    model = load_checkpoint(run / "checkpoint.pt")
    write_model_gguf(model, tokenizer_path, tmp_path / "m.gguf", "test")
    unpacked = read_model(tmp_path / "m.gguf")
    assert unpacked.shape == model.shape
    for name, weight in model.state_dict().items():
        assert torch.equal(unpacked.state_dict()[name], weight), name
    write_tokenizer(tmp_path / "m.gguf", tmp_path / "tokenizer.json")
    again, first = load_tokenizer(tmp_path / "tokenizer.json"), load_tokenizer(tokenizer_path)
    for text in SAMPLE_TEXTS:
        assert again.encode(text).ids == first.encode(text).ids
