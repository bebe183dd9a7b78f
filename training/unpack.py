"""Make the folder that ``--warm-start`` takes from a 16-bit GGUF: the inverse of ``training.convert``.

So the released file is enough to go on training from; nothing else has to be kept.

    python -m training.unpack --gguf backends/pocket/pocket-F16.gguf --out build/pocket/hf
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.config import Shape
from training.convert import LAYER_NAMES, write_hugging_face
from training.formats import SPECIAL_TOKENS
from training.model import Pocket


class UnpackError(Exception):
    """The file is not one that ``training.convert`` wrote."""


def split_heads(matrix: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Undo ``interleave_heads``: neighbouring pairs back to halves."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def shortest(value: float) -> float:
    """The shortest decimal that is this 32-bit number: 1e-05 rather than 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def read_shape(fields: Any) -> Shape:
    """The shape of a Llama GGUF."""

    def get(name: str) -> Any:
        return fields[f"llama.{name}"].contents()

    return Shape(
        vocabulary=get("vocab_size"),
        hidden=get("embedding_length"),
        layers=get("block_count"),
        heads=get("attention.head_count"),
        kv_heads=get("attention.head_count_kv"),
        feed_forward=get("feed_forward_length"),
        context=get("context_length"),
        rope_theta=shortest(get("rope.freq_base")),
        norm_eps=shortest(get("attention.layer_norm_rms_epsilon")),
    )


def read_model(path: Path) -> Pocket:
    """The PyTorch model of a 16-bit GGUF.

    Raises:
        UnpackError: the file is quantized.
    """
    import gguf

    reader = gguf.GGUFReader(str(path))
    if any(tensor.tensor_type.name not in ("F16", "F32") for tensor in reader.tensors):
        raise UnpackError(f"{path} is quantized; unpack the 16-bit file")
    shape = read_shape(reader.fields)
    state = {}
    for tensor in reader.tensors:
        values = np.asarray(tensor.data)
        if tensor.name == "token_embd.weight":
            name = "model.embed_tokens.weight"
        elif tensor.name == "output_norm.weight":
            name = "model.norm.weight"
        else:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"
            if part in ("attn_q", "attn_k"):
                values = split_heads(values, shape.heads if part == "attn_q" else shape.kv_heads)
        state[name] = torch.from_numpy(values.astype(np.float32))
    model = Pocket(shape)
    model.load_state_dict(state)
    return model.eval()


def write_tokenizer(path: Path, out: Path) -> None:
    """Write ``tokenizer.json`` with the tokens and merges of a GGUF."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = gguf.GGUFReader(str(path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.save(str(out))


def main() -> None:
    """Unpack a GGUF."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=Path("backends/pocket/pocket-F16.gguf"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket/hf"))
    arguments = parser.parse_args()
    try:
        model = read_model(arguments.gguf)
    except UnpackError as error:
        raise SystemExit(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        write_tokenizer(arguments.gguf, tokenizer)
        write_hugging_face(model, tokenizer, arguments.out)
    print(f"{arguments.out}: ready for --warm-start")


if __name__ == "__main__":
    main()
