"""The tiers of a folder of safetensors for the plan, from its headers and ``config.json``; no torch is imported.

The transformers engine keeps a cache of its own for every sequence, where llama.cpp shares one: two are counted (the
conversation and what is written beside it), and each further continuation costs as much again. Weights are counted in
the type they have in memory: 4-bit as nf4 (half a byte and a 32-bit scale for 64 of them), 8-bit as int8, with
embeddings, norms and the output head as they are stored; formats that are unpacked on a CPU at 16 bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from backends.errors import ModelFileError
from backends.models.gguf_header import Tensor
from backends.models.gguf_types import TensorType
from backends.plan.fit import Tiers
from backends.plan.layout import Layer, Layout
from backends.transformers_engine.check import Checkpoint, check
from backends.transformers_engine.formats import NEEDS, RUNS, absent_packages, folders_need, missing
from backends.transformers_engine.safetensors_header import BITS, TensorInfo
from backends.types import EIGHT, FOUR, SIXTEEN

RUNTIME = 420_000_000
"""Bytes PyTorch, transformers and bitsandbytes take in the engine host beside the interpreter (measured)."""
ROWS = 2
"""Sequences whose cache is counted."""
KINDS = {FOUR: TensorType("nf4", 64, 36), EIGHT: TensorType("int8", 1, 1)}
UNPACKED = frozenset({"fp8", "compressed-tensors"})
"""Methods that are unpacked to 16 bits where there is no card."""
_LAYER = re.compile(r"\blayers\.(\d+)\.")
_HALF = TensorType("16 bits", 1, 2)


def tiers_of_folder(folder: Path, *, card: bool = False) -> Tiers:
    """Every tier a folder is or can become.

    Args:
        folder: the checkpoint.
        card: whether it will run on a graphics card, where no format is unpacked.

    Raises:
        ModelFileError: it is not a whole model, or its config lacks what the plan needs.
    """
    checkpoint = check(folder)
    config = _text_config(folder)
    found = checkpoint.quantization
    if found is not None:
        unpacked = found.method in UNPACKED and not card
        recipe = found.need.name + (", unpacked" if unpacked else "")
        return {checkpoint.own_tier: (_layout(checkpoint, config, None, unpacked=unpacked), recipe, folder)}
    return {
        name: (_layout(checkpoint, config, KINDS.get(name)), KINDS[name].name if name in KINDS else "as stored", folder)
        for name in (FOUR, EIGHT, SIXTEEN)
    }


def lacking(folder: Path, *, card: bool = False) -> str:
    """What is missing on this machine to run a folder, in one line; empty when nothing is. Raises ModelFileError.

    Args:
        folder: the checkpoint.
        card: whether there is a CUDA card. How new it is, is found out when the folder is loaded.
    """
    found = check(folder).quantization
    absent = absent_packages(RUNS if found else (*RUNS, *NEEDS["bitsandbytes"].packages))
    own = missing(found, float("inf") if card else None) if found else ""
    return own or (folders_need(absent) if absent else "")


def _text_config(folder: Path) -> dict[str, object]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else dict(config)


def _layout(
    checkpoint: Checkpoint, config: Mapping[str, object], kind: TensorType | None, *, unpacked: bool = False
) -> Layout:
    """One tier. Raises ModelFileError when the config lacks a size."""

    def number(*names: str) -> int:
        for name in names:
            value = config.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return 0

    layers = number("num_hidden_layers", "n_layer")
    width = number("hidden_size", "n_embd")
    heads = number("num_attention_heads", "n_head")
    if not (layers and width and heads):
        raise ModelFileError(f"{checkpoint.path / 'config.json'}: says nothing of layers, hidden size or heads")
    head = number("head_dim") or width // heads
    kept = ROWS * (number("num_key_value_heads") or heads) * head
    types = config.get("layer_types")
    recurrent = [isinstance(t, str) and "attention" not in t for t in types] if isinstance(types, list) else []
    used = number("num_experts_per_tok")
    inner = number("moe_intermediate_size") * used if used else 0
    return Layout(
        architecture=checkpoint.model_type,
        context=checkpoint.context,
        embedding=width,
        heads=heads,
        head=head,
        feed_forward=max(inner, number("intermediate_size", "n_inner") or 4 * width),
        experts_used=used,
        vocabulary=number("vocab_size"),
        merges=number("vocab_size"),
        window=number("sliding_window"),
        layers=tuple(
            Layer(0, 0, state=2 * width) if at < len(recurrent) and recurrent[at] else Layer(kept, kept)
            for at in range(layers)
        ),
        tensors=tuple(_tensor(info, kind, unpacked=unpacked) for info in checkpoint.tensors),
    )


def _tensor(info: TensorInfo, kind: TensorType | None, *, unpacked: bool) -> Tensor:
    """A tensor under the name and in the type the plan counts it with; row length first."""
    inner = _LAYER.search(info.name)
    name = f"blk.{inner[1]}.{info.name}" if inner else info.name
    if "embed_tokens" in info.name or info.name.endswith("wte.weight"):
        name = "token_embd.weight"
    elif info.name.startswith("lm_head"):
        name = "output.weight"
    stored = TensorType(info.dtype, 8, BITS[info.dtype])  # eight weights at a time: some types are less than a byte
    matrix = inner is not None and len(info.shape) > 1 and info.name.endswith("weight")
    if kind is not None and matrix and info.elements % kind.block == 0:
        stored = kind
    elif unpacked and inner is not None and info.dtype.startswith(("F8", "I8")):
        stored = _HALF
    shape = tuple(reversed(info.shape)) or (1,)
    if info.elements % stored.block:
        stored = TensorType(info.dtype, 1, max(1, BITS[info.dtype] // 8))
    return Tensor(name, shape, stored, 0)
