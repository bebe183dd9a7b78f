r"""Turn a checkpoint into what others can load: safetensors in the Hugging Face layout, and a 16-bit GGUF.

Both hold the same 16-bit numbers: weights are rounded to float16 once, here, and what is measured is what is shipped.

    python -m training.convert --run build/pocket/run --tokenizer build/pocket/tokenizer.json --out build/pocket/hf \
        --gguf backends/pocket/pocket-F16.gguf
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.config import Shape, to_json
from training.formats import CHAT_TEMPLATE, END_OF_TEXT, IM_END, SPECIAL_TOKENS
from training.gguf_file import TensorPlan, Vocabulary, interleave_heads, write_gguf
from training.model import Pocket
from training.tokenizer import GGUF_PRE_TOKENIZER, load_tokenizer

ABOUT = {
    "name": "fovea pocket",
    "description": "A very small English (and a little Russian) chat model that comes with fovea; see MODEL_CARD.md",
    "license": "cc-by-sa-4.0",
    "author": "The fovea authors",
}
# GGUF names of the parts of a layer, and theirs at Hugging Face.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def load_checkpoint(path: Path) -> Pocket:
    """The model of a checkpoint, its weights rounded to float16 as they will ship."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = Pocket(Shape(**state["shape"]))
    model.load_state_dict(state["model"])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(parameter.half().float())
    return model.eval()


def load_release(folder: Path) -> Pocket:
    """The model of a folder written by ``write_hugging_face``."""
    from safetensors.torch import load_file

    shape = Shape(**json.loads((folder / "shape.json").read_text(encoding="utf-8")))
    model = Pocket(shape)
    weights = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(weights)
    return model.eval()


def write_hugging_face(model: Pocket, tokenizer_path: Path, out: Path) -> None:
    """Write ``model.safetensors``, ``config.json``, the tokenizer files and our own ``shape.json``."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    shape, tokenizer = model.shape, load_tokenizer(tokenizer_path)
    weights = {
        name: (parameter.half() if parameter.ndim == 2 else parameter.float()).contiguous()
        for name, parameter in model.state_dict().items()
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "shape.json", to_json(shape))
    write_json(out / "config.json", hugging_face_config(shape, tokenizer))
    write_json(out / "generation_config.json", {"eos_token_id": tokenizer.token_to_id(IM_END), "do_sample": False})
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": IM_END,
            "pad_token": END_OF_TEXT,
            "additional_special_tokens": list(SPECIAL_TOKENS),
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.context,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def hugging_face_config(shape: Shape, tokenizer: Any) -> dict[str, Any]:
    """``config.json`` of ``LlamaForCausalLM``."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float16",
        "bos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "eos_token_id": tokenizer.token_to_id(IM_END),
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file a person can read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def vocabulary_of(tokenizer_path: Path) -> Vocabulary:
    """Tokens by id and merges of a stored tokenizer."""
    stored = json.loads(tokenizer_path.read_text(encoding="utf-8"))
    ids: dict[str, int] = {**stored["model"]["vocab"], **{t["content"]: t["id"] for t in stored["added_tokens"]}}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in stored["model"]["merges"]]
    return Vocabulary(sorted(ids, key=ids.__getitem__), merges, GGUF_PRE_TOKENIZER)


def tensor_of(model: Pocket, item: TensorPlan) -> np.ndarray[Any, Any]:
    """The values of one GGUF tensor, in llama.cpp's layout."""
    shape, state = model.shape, model.state_dict()
    if item.name == "token_embd.weight":
        return np.asarray(state["model.embed_tokens.weight"].numpy())
    if item.name == "output_norm.weight":
        return np.asarray(state["model.norm.weight"].numpy())
    _, layer, part, _ = item.name.split(".")
    values = np.asarray(state[f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"].numpy())
    if part in ("attn_q", "attn_k"):
        return interleave_heads(values, shape.heads if part == "attn_q" else shape.kv_heads)
    return values


def conversion_errors(model: Pocket, gguf: Path, tokenizer_path: Path) -> dict[str, float]:
    """How far llama.cpp's logits are from PyTorch's, and how much of that is the conversion.

    llama.cpp multiplies 16-bit weights by activations rounded to 16 bits and keeps a 16-bit cache. The same weights in
    a 32-bit file with a 32-bit cache leave only what the conversion does.

    Returns:
        The largest absolute difference over all positions of the sample texts, for three set-ups.
    """
    from training.parity import SAMPLE_TEXTS, compare_logits

    tokenizer = load_tokenizer(tokenizer_path)
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "wide.gguf"
        write_model_gguf(model, tokenizer_path, wide, "0", bits=32)
        errors = {
            "32-bit file, 32-bit cache": compare_logits(wide, model, tokenizer, SAMPLE_TEXTS, wide_cache=True),
            "16-bit file, 32-bit cache": compare_logits(gguf, model, tokenizer, SAMPLE_TEXTS, wide_cache=True),
            "16-bit file, 16-bit cache": compare_logits(gguf, model, tokenizer, SAMPLE_TEXTS),
        }
    return {name: float(f"{error:.2g}") for name, error in errors.items()}


def write_model_gguf(model: Pocket, tokenizer_path: Path, out: Path, version: str, bits: int = 16) -> None:
    """Write the GGUF of a model, at 16 bits unless said otherwise.

    Raises:
        ValueError: tokenizer and model disagree about the vocabulary, or K-quants would not apply.
    """
    vocabulary = vocabulary_of(tokenizer_path)
    if len(vocabulary.tokens) != model.shape.vocabulary:
        raise ValueError(f"{tokenizer_path} has {len(vocabulary.tokens)} tokens, the model {model.shape.vocabulary}")
    if not model.shape.k_quants_apply:
        raise ValueError("hidden and feed-forward widths must be multiples of 256, or K-quants do not apply")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(out, model.shape, vocabulary, lambda item: tensor_of(model, item), ABOUT | {"version": version}, bits)


def main() -> None:
    """Convert a checkpoint and say how far llama.cpp's logits are from PyTorch's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("build/pocket/run"), help="folder of the checkpoint")
    parser.add_argument("--tokenizer", type=Path, default=Path("build/pocket/tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket/hf"), help="folder for the safetensors form")
    parser.add_argument("--gguf", type=Path, default=Path("build/pocket/pocket-F16.gguf"))
    parser.add_argument("--version", default="1")
    arguments = parser.parse_args()
    from training.parity import SAMPLE_TEXTS, compare_tokens

    model = load_checkpoint(arguments.run / "checkpoint.pt")
    write_hugging_face(model, arguments.tokenizer, arguments.out)
    write_model_gguf(model, arguments.tokenizer, arguments.gguf, arguments.version)
    tokenizer = load_tokenizer(arguments.tokenizer)
    different = compare_tokens(arguments.gguf, tokenizer, SAMPLE_TEXTS)
    if different:
        raise SystemExit(f"the GGUF splits these texts otherwise than the tokenizer: {different}")
    errors = conversion_errors(model, arguments.gguf, arguments.tokenizer)
    print(
        f"{arguments.gguf}: {model.shape.parameters / 1e6:.2f}M parameters, "
        f"{arguments.gguf.stat().st_size / 1e6:.1f} MB"
    )
    print(
        f"{len(SAMPLE_TEXTS)} texts split alike; "
        f"largest differences of a logit between llama.cpp and PyTorch: {json.dumps(errors)}"
    )


if __name__ == "__main__":
    main()
