"""Every kind of bad file gives one sentence, and good files tell their facts."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.errors import ModelFileError
from backends.models.architectures import is_known
from backends.models.gguf_file import ModelFile, read_model, tier_of
from backends.models.gguf_types import BY_NAME, FILE_TYPES, TYPES
from backends.models.random_gguf import CHATML, write_random
from backends.models.shape import Shape


def reason(path: Path) -> str:
    """The one sentence a bad file gives."""
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable()
    assert path.name in text or ascii(path.name)[1:-1] in text
    return text


def edited(tiny: Path, target: Path, **settings: Any) -> Path:
    """A copy of the tiny model with its settings replaced (``None`` removes one) and the same tensors."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(tiny)
    writer = gguf.GGUFWriter(target, settings.pop("architecture", "llama"))
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or field.name in settings:
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub)
    for key, value in settings.items():
        if value is not None:
            kind = gguf.GGUFValueType.get_type(value)
            writer.add_key_value(key, value, gguf.GGUFValueType.UINT32 if kind == gguf.GGUFValueType.INT32 else kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_facts_of_a_good_file(tiny: Path) -> None:
    model = read_model(tiny)
    assert (model.architecture, model.layers, model.embedding, model.heads) == ("llama", 2, 256, 4)
    assert (model.kv_heads, model.head_k, model.head_v) == ((2, 2), 64, 64)
    assert (model.context, model.vocabulary, model.experts, model.sliding_window) == (512, 320, 0, 0)
    assert model.template == CHATML and not model.recurrent
    assert model.tier == "16-bit" and model.recipe == "F16"
    assert model.types()["F16"][0] == 16
    assert 16 < model.bits_per_weight < 16.1
    assert model.size == tiny.stat().st_size


def test_facts_agree_with_the_gguf_package(tiny: Path) -> None:
    import gguf

    theirs = gguf.GGUFReader(tiny)
    ours = read_model(tiny)
    assert [(t.name, list(t.shape), t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs.tensors] == [
        (t.name, list(t.shape), t.kind.name, t.offset, t.bytes) for t in ours.tensors
    ]


def test_type_tables_agree_with_the_gguf_package() -> None:
    import gguf

    for kind, (block, size) in gguf.GGML_QUANT_SIZES.items():
        # The package has Q8_1 (never stored in files) 4 bytes larger than llama.cpp does.
        if kind.name != "Q8_1":
            assert (TYPES[kind.value].name, TYPES[kind.value].block, TYPES[kind.value].bytes) == (
                kind.name,
                block,
                size,
            )
    for kind in gguf.LlamaFileType:
        name = kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        if name in FILE_TYPES:
            assert FILE_TYPES[name] == kind.value


def test_bf16_and_experts_are_read(tmp_path: Path) -> None:
    model = read_model(write_random(tmp_path / "moe.gguf", Shape(experts=4), bf16=True))
    assert (model.experts, model.experts_used, model.tier) == (4, 2, "16-bit")
    dense = read_model(write_random(tmp_path / "dense.gguf"))
    assert model.parameters > 2 * dense.parameters


def test_paths_that_are_no_model_files(tmp_path: Path) -> None:
    assert "no such file" in reason(tmp_path / "missing.gguf")
    (tmp_path / "folder").mkdir()
    assert "folder" in reason(tmp_path / "folder")
    (tmp_path / "empty.gguf").touch()
    assert "empty" in reason(tmp_path / "empty.gguf")
    with pytest.raises(ModelFileError):
        read_model(Path("bad\0name"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04", "PyTorch"),
        (b"tjgg", "old GGML"),
        (b"version https://git-lfs.github.com/spec/v1", "LFS"),
        (b"<html>Too many requests</html>", "not a GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, head: bytes, words: str) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(head + bytes(4096))
    assert words in reason(path)


def test_truncated_at_random_cuts(tiny: Path, tmp_path: Path) -> None:
    content = tiny.read_bytes()
    header = read_model(tiny).header.data_offset
    draw = random.Random(7)
    cuts = [draw.randrange(1, header) for _ in range(15)] + [draw.randrange(header, len(content)) for _ in range(15)]
    cut_file = tmp_path / "cut.gguf"
    for cut in [*cuts, 1, 3, 4, 8, 24, header, len(content) - 1]:
        cut_file.write_bytes(content[:cut])
        said = reason(cut_file)
        assert "cut short" in said, (cut, said)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, noise: bytes) -> None:
    for head in (b"", b"GGUF", b"GGUF\x03\x00\x00\x00"):
        path = tmp_path / "noise.gguf"
        path.write_bytes(head + noise)
        reason(path)


def test_flipped_bytes_never_escape_as_another_error(tiny: Path, tmp_path: Path) -> None:
    content = bytearray(tiny.read_bytes())
    header = read_model(tiny).header.data_offset
    draw = random.Random(11)
    for _ in range(400):
        copy = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            copy[draw.randrange(4, header)] = draw.randrange(256)
        path = tmp_path / "flipped.gguf"
        path.write_bytes(copy)
        try:
            read_model(path)
        except ModelFileError as error:
            assert str(error).isprintable()


def test_hostile_lengths_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    key = struct.pack("<Q", 3) + b"a.b" + struct.pack("<I", 9)
    for tail in (
        struct.pack("<IQ", 8, 1 << 62),  # a list of endless texts
        struct.pack("<IQ", 4, 1 << 62),  # endless numbers
        struct.pack("<IQ", 9, 4),  # nested lists
        struct.pack("<IQ", 77, 4),  # unknown type
        struct.pack("<IQQ", 8, 1, 1 << 63),  # one endless text
    ):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + tail + bytes(1 << 17))
        reason(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1) + bytes(1 << 17))
    assert "claims" in reason(path)


def test_vocabulary_only(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    writer.add_token_list(["a", "b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "only a vocabulary" in reason(tmp_path / "vocab.gguf")


def test_a_vocabulary_with_a_word_twice(tiny: Path, tmp_path: Path) -> None:
    """llama.cpp aborts the process on such a file."""
    from backends.models.random_gguf import tokens

    names = tokens(320)
    names[300] = names[301]
    assert "stands twice" in reason(edited(tiny, tmp_path / "twice.gguf", **{"tokenizer.ggml.tokens": names}))
    names[300] = ""
    assert read_model(edited(tiny, tmp_path / "empty.gguf", **{"tokenizer.ggml.tokens": names})).vocabulary == 320
    numbers = edited(tiny, tmp_path / "numbers.gguf", **{"tokenizer.ggml.tokens": [1, 2, 3]})
    assert "not a list of texts" in reason(numbers)


def test_unknown_and_unsuitable_architectures(tiny: Path, tmp_path: Path) -> None:
    assert "does not know" in reason(edited(tiny, tmp_path / "a.gguf", architecture="llama99"))
    assert "does not know" in reason(edited(tiny, tmp_path / "b.gguf", architecture="\x1b[31mred"))
    assert "embedding model" in reason(edited(tiny, tmp_path / "c.gguf", architecture="bert"))
    assert "vision part" in reason(edited(tiny, tmp_path / "d.gguf", architecture="clip"))
    assert "adapter" in reason(edited(tiny, tmp_path / "e.gguf", **{"general.type": "adapter"}))


def test_known_architectures_come_from_the_installed_library() -> None:
    assert all(is_known(name) for name in ("llama", "qwen3", "gemma3", "phi3", "mamba", "gpt-oss", "deepseek2"))
    assert not any(is_known(name) for name in ("", "llama99", "../../x", "LLAMA", "\0"))


def test_impossible_settings(tiny: Path, tmp_path: Path) -> None:
    said = reason(edited(tiny, tmp_path / "a.gguf", **{"llama.block_count": None}))
    assert "llama.block_count" in said and "lacks" in said
    assert "layer 2" in reason(edited(tiny, tmp_path / "b.gguf", **{"llama.block_count": 3}))
    assert "impossible" in reason(edited(tiny, tmp_path / "c.gguf", **{"llama.block_count": 100_000}))
    assert "do not fit" in reason(edited(tiny, tmp_path / "d.gguf", **{"llama.embedding_length": 512}))
    assert "impossible" in reason(edited(tiny, tmp_path / "e.gguf", **{"llama.attention.head_count_kv": [1]}))
    assert "without layers" in reason(edited(tiny, tmp_path / "f.gguf", **{"llama.block_count": 0}))
    assert "impossible" in reason(edited(tiny, tmp_path / "g.gguf", **{"llama.context_length": "long"}))


def test_per_layer_heads_and_windows(tiny: Path, tmp_path: Path) -> None:
    changes = {"llama.attention.head_count_kv": [2, 1], "llama.attention.sliding_window": 128}
    model = read_model(edited(tiny, tmp_path / "a.gguf", **changes))
    assert model.kv_heads == (2, 1) and model.sliding_window == 128


def test_file_names_are_foreign_text(tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[31m\n.gguf"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    assert str(caught.value).isprintable()


def split(source: Path, folder: Path) -> list[Path]:
    """The tiny model in two parts, as llama.cpp's gguf-split names them."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    halves = [reader.tensors[:9], reader.tensors[9:]]
    paths = []
    for number, tensors in enumerate(halves):
        path = folder / f"part-{number + 1:05}-of-00002.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for field in reader.fields.values():
                if not field.name.startswith("GGUF.") and field.name != "general.architecture":
                    sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                    writer.add_key_value(field.name, field.contents(), field.types[0], sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def test_split_files(tiny: Path, tmp_path: Path) -> None:
    first, second = split(tiny, tmp_path)
    whole = read_model(tiny)
    for path in (first, second):
        model = read_model(path)
        assert model.parts == (first, second) and model.path == first
        assert model.parameters == whole.parameters and model.vocabulary == whole.vocabulary
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(first.read_bytes())
    assert "does not say which" in reason(renamed)
    second.unlink()
    assert "part-00002-of-00002.gguf" in reason(first)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ModelFileError, match="is not part 2 of 2"):
        read_model(first)


def fake(kind: str, name: str = "blk.0.x.weight", rows: int = 4) -> Any:
    from backends.models.gguf_header import Tensor

    return Tensor(name, (256, rows), BY_NAME[kind], 0)


@pytest.mark.parametrize(
    ("kind", "tier"),
    [("F16", "16-bit"), ("BF16", "16-bit"), ("F32", "16-bit"), ("Q8_0", "8-bit"), ("Q4_K", "4-bit"), ("Q4_0", "4-bit"),
     ("IQ4_XS", "4-bit"), ("MXFP4", "4-bit"), ("Q6_K", "q6_k"), ("Q2_K", "q2_k")],
)  # fmt: skip
def test_tier_names(kind: str, tier: str) -> None:
    embeddings = fake("F16", "token_embd.weight", 3)
    assert tier_of([fake(kind), embeddings]) == tier


def test_the_inner_layers_decide_the_tier() -> None:
    assert tier_of([fake("Q4_K", rows=4), fake("F16", "token_embd.weight", rows=4000)]) == "4-bit"
    assert tier_of([]) == ""


def test_read_only_needs_no_heavy_import(tiny: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from backends.models.gguf_file import read_model;"
        f"read_model(Path({str(tiny)!r})); print([m for m in ('numpy', 'gguf', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parameters_and_sizes_are_consistent(tiny: Path) -> None:
    model: ModelFile = read_model(tiny)
    assert sum(size for _, size in model.types().values()) == model.weights
    assert model.weights < model.size
