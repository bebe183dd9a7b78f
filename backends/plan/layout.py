"""What of a model decides how much memory it takes, from a file or from published sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from backends.models.gguf_file import ModelFile
from backends.models.gguf_header import Tensor, Value
from backends.models.gguf_types import BY_NAME
from backends.models.recipes import predicted_tensors
from backends.models.shape import Shape, tensor_shapes

_WINDOW_PERIOD = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "olmo2": 4, "gpt-oss": 2, "llama4": 4, "exaone4": 4,
    "smallthinker": 4, "plamo3": 8, "afmoe": 4,
}  # fmt: skip
"""Architecture -> every how many layers one sees everything, where the file does not list it (llama.cpp src/models)."""
_FULL_FIRST = frozenset({"smallthinker"})
_ATTENTION_EVERY = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
"""Architecture -> every how many layers one is attention rather than recurrent, unless the file says otherwise."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer keeps for each token, and for each sequence."""

    keys: int
    """Key elements for each token."""
    values: int
    windowed: bool = False
    """Sees only the last ``Layout.window`` tokens."""
    state: int = 0
    """Elements of recurrent state for each sequence, float32."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Bytes of groups of tensors."""

    weights: int
    inner: int
    """Of the layers."""
    head: int
    """Of the output head and its norm."""
    matrices: Mapping[tuple[str, int], int]
    """(type, 8, 4 or 1: what its rows divide by) -> bytes of the matrices that are multiplied with."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One tier of a model, as far as memory is concerned."""

    architecture: str
    context: int
    embedding: int
    heads: int
    head: int
    feed_forward: int
    """Widest inner width at work for one token: all experts used, together."""
    experts_used: int
    vocabulary: int
    merges: int
    window: int
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    sums: Sums = field(init=False)
    """What is asked of the tensors again and again, added up once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sums", _added_up(self.tensors))

    def at(self, recipe: str) -> Layout:
        """The same model at another precision (Q4_K_M, Q4_0, Q8_0, F16)."""
        return replace(self, tensors=predicted_tensors(self.tensors, recipe))


def layout_of(model: ModelFile) -> Layout:
    """The layout of a model file."""
    lengths = model.header.lengths
    inner = max((tensor.shape[1] for tensor in model.tensors if _is_up(tensor)), default=model.embedding)
    with_experts = any("_exps" in tensor.name for tensor in model.tensors if _is_up(tensor))
    return Layout(
        architecture=model.architecture,
        context=model.context,
        embedding=model.embedding,
        heads=model.heads,
        head=model.head_k,
        feed_forward=inner * (model.experts_used or 1) if with_experts else inner,
        experts_used=model.experts_used if with_experts else 0,
        vocabulary=model.vocabulary,
        merges=lengths.get("tokenizer.ggml.merges", 0),
        window=model.sliding_window,
        layers=tuple(_layers(model)),
        tensors=model.tensors,
    )


def layout_of_shape(shape: Shape) -> Layout:
    """The layout of a 16-bit model known only by its sizes."""
    tensors = tuple(
        Tensor(name, tuple(reversed(dims)), BY_NAME["F32" if len(dims) == 1 else "F16"], 0)
        for name, dims in tensor_shapes(shape)
    )
    kept = shape.kv_heads * shape.head
    return Layout(
        architecture=shape.architecture,
        context=shape.context,
        embedding=shape.embedding,
        heads=shape.heads,
        head=shape.head,
        feed_forward=shape.feed_forward * (shape.experts_used if shape.experts else 1),
        experts_used=shape.experts_used if shape.experts else 0,
        vocabulary=shape.vocabulary,
        merges=shape.vocabulary,
        window=0,
        layers=(Layer(kept, kept),) * shape.layers,
        tensors=tensors,
    )


def _added_up(tensors: Iterable[Tensor]) -> Sums:
    weights = inner = head = 0
    matrices: Counter[tuple[str, int]] = Counter()
    for tensor in tensors:
        size = tensor.bytes
        weights += size
        inner += size if tensor.name.startswith("blk.") else 0
        head += size if tensor.name.startswith("output") else 0
        if len(tensor.shape) > 1 and tensor.name != "token_embd.weight":
            rows = tensor.shape[1]
            matrices[tensor.kind.name, 8 if rows % 8 == 0 else 4 if rows % 4 == 0 else 1] += size
    return Sums(weights, inner, head, matrices)


def _is_up(tensor: Tensor) -> bool:
    return "ffn_up" in tensor.name and len(tensor.shape) > 1


def _setting(model: ModelFile, key: str) -> Value | None:
    return model.header.metadata.get(f"{model.architecture}.{key}")


def _number(model: ModelFile, key: str, default: int = 0) -> int:
    value = _setting(model, key)
    return value if isinstance(value, int) else default


def _layers(model: ModelFile) -> Iterable[Layer]:
    state = _state(model)
    recurrent = _recurrent_layers(model)
    windowed = _windowed_layers(model)
    both = model.architecture == "falcon-h1"
    latent = _number(model, "attention.key_length_mla") > 0
    first_shared = model.layers - _number(model, "attention.shared_kv_layers")
    if model.architecture == "gemma3n":
        first_shared = 20
    for at, heads in enumerate(model.kv_heads):
        if recurrent[at] and not both:
            yield Layer(0, 0, state=state)
        elif at >= first_shared:
            yield Layer(0, 0)
        else:
            values = 0 if latent else heads * model.head_v
            yield Layer(heads * model.head_k, values, windowed[at], state if both else 0)


def _windowed_layers(model: ModelFile) -> list[bool]:
    if not model.sliding_window:
        return [False] * model.layers
    listed = _setting(model, "attention.sliding_window_pattern")
    if isinstance(listed, tuple) and len(listed) >= model.layers:
        return [bool(item) for item in listed[: model.layers]]
    period = listed if isinstance(listed, int) and listed > 0 else _WINDOW_PERIOD.get(model.architecture, 0)
    if period < 2:
        return [False] * model.layers
    full = 0 if model.architecture in _FULL_FIRST else period - 1
    return [at % period != full for at in range(model.layers)]


def _recurrent_layers(model: ModelFile) -> list[bool]:
    if not model.recurrent:
        return [False] * model.layers
    every = _number(model, "full_attention_interval", _ATTENTION_EVERY.get(model.architecture, 0))
    if every:
        return [(at + 1) % every != 0 for at in range(model.layers)]
    return [heads == 0 or model.architecture == "falcon-h1" for heads in model.kv_heads]


def _state(model: ModelFile) -> int:
    """Elements one recurrent layer keeps for one sequence (llama.cpp ``n_embd_r + n_embd_s``)."""
    head = _number(model, "wkv.head_size")
    if head:
        return model.embedding * (_number(model, "token_shift_count", 2) + head)
    short = _number(model, "shortconv.l_cache")
    if short:
        return model.embedding * (short - 1)
    kernel, inner = _number(model, "ssm.conv_kernel"), _number(model, "ssm.inner_size")
    size, groups = _number(model, "ssm.state_size"), _number(model, "ssm.group_count")
    return max(kernel - 1, 0) * (inner + 2 * groups * size) + size * inner
