"""Writing a Llama-shaped GGUF, tensor by tensor, so that a file may be larger than memory.

Names and layout follow llama.cpp: matrices are (rows, columns) as in PyTorch, norms stay in 32 bits, and the rows of
the query and key projections are interleaved, because llama.cpp turns neighbouring pairs where Hugging Face turns
halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.config import Shape
from training.formats import CHAT_TEMPLATE, END_OF_TEXT, IM_END, SPECIAL_TOKENS

NORMAL, CONTROL = 1, 3  # llama.cpp's token types
ALL_F32, MOSTLY_F16 = 0, 1  # general.file_type


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens in the byte-level alphabet, merges as "left right", and the name of the pre-tokenizer."""

    tokens: Sequence[str]
    merges: Sequence[str]
    pre_tokenizer: str


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor of the file: its name, its shape as in PyTorch (rows, columns), and the bits of a matrix's weights."""

    name: str
    shape: tuple[int, ...]
    bits: int = 16

    @property
    def type(self) -> type[np.floating[Any]]:
        """Norms are kept in 32 bits: they are tiny and llama.cpp wants them so."""
        return np.float32 if len(self.shape) == 1 or self.bits == 32 else np.float16


def plan(shape: Shape, bits: int = 16) -> Iterator[TensorPlan]:
    """All tensors of a Llama with tied embeddings, in file order."""
    kv = shape.kv_heads * shape.head_width
    yield TensorPlan("token_embd.weight", (shape.vocabulary, shape.hidden), bits)
    for layer in range(shape.layers):
        for name, dimensions in (
            ("attn_norm", (shape.hidden,)),
            ("attn_q", (shape.hidden, shape.hidden)),
            ("attn_k", (kv, shape.hidden)),
            ("attn_v", (kv, shape.hidden)),
            ("attn_output", (shape.hidden, shape.hidden)),
            ("ffn_norm", (shape.hidden,)),
            ("ffn_gate", (shape.feed_forward, shape.hidden)),
            ("ffn_up", (shape.feed_forward, shape.hidden)),
            ("ffn_down", (shape.hidden, shape.feed_forward)),
        ):
            yield TensorPlan(f"blk.{layer}.{name}.weight", dimensions, bits)
    yield TensorPlan("output_norm.weight", (shape.hidden,))


def interleave_heads(matrix: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Reorder the rows of a query or key projection from halves to neighbouring pairs."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(
    path: Path,
    shape: Shape,
    vocabulary: Vocabulary,
    tensor: Callable[[TensorPlan], np.ndarray[Any, Any]],
    about: dict[str, str],
    bits: int = 16,
) -> None:
    """Write a GGUF atomically, one tensor in memory at a time.

    Args:
        path: where to; replaced only when the file is complete.
        shape: the architecture.
        vocabulary: tokens, special ones among them.
        tensor: returns the values of a planned tensor; called once for each, in file order.
        bits: of the matrices: 16, or 32 to compare arithmetic without rounding.
        about: ``name``, and if wanted ``description``, ``license``, ``author``, ``version``.
    """
    import gguf

    partial = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(str(partial), "llama")
    try:
        add_metadata(writer, shape, vocabulary, about)
        writer.add_file_type(MOSTLY_F16 if bits == 16 else ALL_F32)
        plans = list(plan(shape, bits))
        for item in plans:
            size = int(np.prod(item.shape)) * np.dtype(item.type).itemsize
            writer.add_tensor_info(item.name, item.shape, np.dtype(item.type), size)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for item in plans:
            writer.write_tensor_data(np.ascontiguousarray(tensor(item), dtype=item.type))
    except BaseException:
        writer.close()
        partial.unlink(missing_ok=True)
        raise
    writer.close()
    partial.replace(path)


def add_metadata(writer: Any, shape: Shape, vocabulary: Vocabulary, about: dict[str, str]) -> None:
    """Architecture, tokenizer, chat template and what the model says of itself."""
    writer.add_name(about["name"])
    writer.add_type("model")
    for key, add in (
        ("description", writer.add_description),
        ("license", writer.add_license),
        ("author", writer.add_author),
        ("version", writer.add_version),
    ):
        if key in about:
            add(about[key])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocabulary)
    tokens = list(vocabulary.tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if token in SPECIAL_TOKENS else NORMAL for token in tokens])
    writer.add_token_merges(list(vocabulary.merges))
    writer.add_bos_token_id(tokens.index(END_OF_TEXT))
    writer.add_eos_token_id(tokens.index(IM_END))
    writer.add_eot_token_id(tokens.index(IM_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)
