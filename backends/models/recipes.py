"""Which tensor gets which type when a tier is made, as llama.cpp decides it, for sizes known in advance.

The rules follow ``llama_tensor_get_type_impl`` of llama.cpp (src/llama-quant.cpp, as vendored in llama-cpp-python
0.3.36) for the recipes fovea makes as tiers: Q4_K_M, Q4_0 and Q8_0. Other recipes are estimated from their usual bits
per weight. Nothing depends on the prediction being exact: it serves the disk check and the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from backends.models.gguf_header import Tensor
from backends.models.gguf_types import BY_NAME, TensorType

_USUAL_BITS = {
    "Q2_K": 3.2, "Q2_K_S": 3.0, "Q3_K_S": 3.6, "Q3_K_M": 4.0, "Q3_K_L": 4.3, "Q4_1": 5.1, "Q4_K_S": 4.7, "Q5_0": 5.6,
    "Q5_1": 6.1, "Q5_K_S": 5.6, "Q5_K_M": 5.8, "Q6_K": 6.6, "IQ4_NL": 4.6, "IQ4_XS": 4.4, "IQ3_M": 3.8, "IQ3_S": 3.6,
    "IQ3_XS": 3.4, "IQ3_XXS": 3.2, "IQ2_M": 2.8, "IQ2_S": 2.6, "IQ2_XS": 2.5, "IQ2_XXS": 2.3, "IQ1_M": 2.0,
    "IQ1_S": 1.8, "TQ1_0": 2.0, "TQ2_0": 2.4, "F16": 16.0, "BF16": 16.0, "F32": 32.0,
}  # fmt: skip
"""Average bits per weight of a 7B-class model, embeddings included (llama.cpp's tools/quantize/README)."""

_NEVER = (
    "_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d", "shortconv.conv",
    "time_mix_first", "time_mix_w", "time_mix_v", "time_mix_a", "time_mix_g", "time_mix_decay_w", "time_mix_lerp_fused",
    "attn_rel_b", "position_embd", "token_types",
)  # fmt: skip
_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def best_four_bit(tensors: Iterable[Tensor]) -> str:
    """Q4_K_M where every inner matrix has rows of whole 256-blocks, else Q4_0."""
    matrices = [t for t in tensors if t.name.startswith("blk.") and is_quantized(t)]
    return "Q4_K_M" if matrices and all(t.shape[0] % 256 == 0 for t in matrices) else "Q4_0"


def is_quantized(tensor: Tensor) -> bool:
    """Whether llama.cpp's quantizer touches this tensor at all."""
    if len([length for length in tensor.shape if length > 1]) < 2 or not tensor.name.endswith("weight"):
        return False
    return not any(part in tensor.name for part in _NEVER)


def predicted_tensors(tensors: Sequence[Tensor], recipe: str, *, hybrid: bool = False) -> tuple[Tensor, ...]:
    """The tensors of a tier that is not made yet; recipes known only by their average keep no exact types.

    Raises:
        KeyError: the recipe is not one of those modelled exactly (Q4_K_M, Q4_0, Q8_0, F16).
    """
    more = _Layers(tensors)
    made = []
    for tensor in tensors:
        target = BY_NAME["F16"] if recipe == "F16" and is_quantized(tensor) else _target(tensor, recipe, hybrid, more)
        if isinstance(target, float):
            raise KeyError(recipe)
        made.append(replace(tensor, kind=_fitting(tensor, target)))
    return tuple(made)


def predicted_bytes(tensors: Sequence[Tensor], recipe: str, *, hybrid: bool = False) -> int:
    """Bytes of weights after quantizing ``tensors`` to ``recipe``; ``hybrid`` keeps embeddings and head at 16 bits."""
    more = _Layers(tensors)
    return sum(_size(tensor, _target(tensor, recipe, hybrid, more)) for tensor in tensors)


class _Layers:
    """The counters llama.cpp keeps while it walks the tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        names = [tensor.name for tensor in tensors]
        self.values = [
            n for n in names if any(k in n for k in ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"))
        ]
        self.downs = [n for n in names if "ffn_down" in n]
        self.tied = "output.weight" not in names
        experts = {t.shape[2] for t in tensors if "ffn_down_exps" in t.name and len(t.shape) > 2}
        self.eight_experts = experts == {8}

    @staticmethod
    def _more_bits(at: int, count: int) -> bool:
        return at < count // 8 or at >= 7 * count // 8 or (at - count // 8) % 3 == 2

    def value_gets_more(self, name: str) -> bool:
        return self._more_bits(self.values.index(name), len(self.values))

    def down_gets_more(self, name: str) -> bool:
        return self._more_bits(self.downs.index(name), len(self.downs))


def _target(tensor: Tensor, recipe: str, hybrid: bool, layers: _Layers) -> TensorType | float:
    """The type a tensor gets, or average bits per weight where only those are known."""
    if not is_quantized(tensor):
        return tensor.kind
    is_head = tensor.name == "output.weight" or (layers.tied and tensor.name == "token_embd.weight")
    if hybrid and (is_head or tensor.name == "token_embd.weight"):
        return BY_NAME["F16"]
    if recipe == "Q8_0":
        return BY_NAME["Q8_0"]
    if recipe == "Q4_0":
        return BY_NAME["Q6_K"] if is_head and tensor.shape[0] % 256 == 0 else BY_NAME["Q8_0" if is_head else "Q4_0"]
    if recipe != "Q4_K_M":
        return _USUAL_BITS.get(recipe, 8.0)
    return BY_NAME[_q4_k_m(tensor.name, is_head, layers)]


def _q4_k_m(name: str, is_head: bool, layers: _Layers) -> str:
    if is_head:
        return "Q6_K"
    if name in layers.values:
        if layers.eight_experts:
            return "Q8_0"
        return "Q6_K" if layers.value_gets_more(name) else ("Q5_K" if "attn_qkv" in name else "Q4_K")
    if layers.eight_experts and "attn_k.weight" in name:
        return "Q8_0"
    if layers.eight_experts and "attn_output.weight" in name:
        return "Q5_K"
    if name in layers.downs and layers.down_gets_more(name):
        return "Q6_K"
    return "Q4_K"


def _size(tensor: Tensor, target: TensorType | float) -> int:
    if isinstance(target, float):
        return int(tensor.elements * target / 8)
    return _fitting(tensor, target).size(tensor.shape)


def _fitting(tensor: Tensor, target: TensorType) -> TensorType:
    """The target, or what llama.cpp takes instead where rows are not whole blocks."""
    if tensor.shape[0] % target.block:
        target = BY_NAME.get(_FALLBACK.get(target.name, ""), BY_NAME["F16"])
    return target if tensor.shape[0] % target.block == 0 else BY_NAME["F16"]
