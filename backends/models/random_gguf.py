"""Writes a Llama-shaped GGUF with random weights: for tests, and for measurements where only the shape counts.

It is a complete model that llama.cpp loads (byte-level vocabulary, ChatML template), it just says nothing sensible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backends.models.shape import Shape, tensor_shapes

__all__ = ["CHATML", "Shape", "tokens", "write_random"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

ENDS = (256, 258)
"""``<|endoftext|>`` and ``<|im_end|>``: llama.cpp ends a reply at either."""
ENDLESS_SCALE = 5
"""Logits of random weights have a deviation of 1; at 5, one fixed at 0 is out of reach beside hundreds of others."""


def tokens(size: int) -> list[str]:
    """A byte-level vocabulary: 256 bytes, the ChatML tokens, and fillers up to ``size`` (at least 260)."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return [*_byte_alphabet(), *specials, *(f"<filler{n}>" for n in range(size - 256 - len(specials)))]


def write_random(
    path: Path, shape: Shape | None = None, *, seed: int = 0, bf16: bool = False, endless: bool = False
) -> Path:
    """Write a 16-bit model of this shape to ``path`` and return the path.

    An ``endless`` one does not end its replies: the tokens that would are less likely than one in a million.
    """
    import gguf

    shape = shape or Shape()
    writer = gguf.GGUFWriter(path, shape.architecture)
    _write_settings(writer, shape, 32 if bf16 else 1)
    draw = np.random.default_rng(seed)
    for name, dims in tensor_shapes(shape):
        values = draw.standard_normal(dims, dtype=np.float32) / np.float32(np.sqrt(dims[-1]))
        if endless and name == "output.weight":
            values *= ENDLESS_SCALE
            values[list(ENDS)] = 0
        if len(dims) == 1:
            writer.add_tensor(name, np.ones(dims, dtype=np.float32))
        elif bf16:
            bits = (values.view(np.uint32) >> 16).astype(np.uint16)
            writer.add_tensor(
                name,
                bits.view(np.uint8),
                raw_shape=(*dims[:-1], dims[-1] * 2),
                raw_dtype=gguf.GGMLQuantizationType.BF16,
            )
        else:
            writer.add_tensor(name, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_settings(writer: Any, shape: Shape, file_type: int) -> None:
    writer.add_name("random weights")
    writer.add_file_type(file_type)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.experts_used)
    for key, value in shape.extra.items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_string)(key, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    names = tokens(shape.vocabulary)
    writer.add_token_list(names)
    writer.add_token_types([3 if name.startswith("<|") else 1 for name in names])
    writer.add_token_merges([f"{names[0]} {names[1]}"])
    writer.add_eos_token_id(ENDS[1])
    writer.add_bos_token_id(ENDS[0])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in byte order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_in = 256
    names = []
    for byte in range(256):
        if byte in plain:
            names.append(chr(byte))
        else:
            names.append(chr(stand_in))
            stand_in += 1
    return names
