"""The sizes of a Llama-shaped model, and the list of tensors that follows from them.

Two uses: random-weight files for tests and measurements (``random_gguf``), and the memory guide, which computes
requirements of well-known models from their published sizes alone (``backends.plan.levels``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model. ``experts`` > 0 makes a mixture of experts with ``experts_used`` at work."""

    layers: int = 2
    embedding: int = 256
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 512
    """Inner width; of one expert where there are experts."""
    vocabulary: int = 320
    context: int = 512
    experts: int = 0
    experts_used: int = 2
    tied: bool = False
    """No output head of its own: the token embeddings serve."""
    gated: bool = True
    """Three feed-forward matrices (SwiGLU) rather than two. Files can be written only for gated shapes."""
    head_size: int = 0
    """Elements of one head; 0: embedding / heads."""
    architecture: str = "llama"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More metadata; integers are written as 32-bit."""

    @property
    def head(self) -> int:
        """Elements of one head."""
        return self.head_size or self.embedding // self.heads


def tensor_shapes(shape: Shape) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes (rows first, as numpy has them) in the order of a file."""
    width = shape.embedding
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (shape.vocabulary, width))]
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        found += [
            (f"{block}.attn_norm.weight", (width,)),
            (f"{block}.attn_q.weight", (shape.heads * shape.head, width)),
            (f"{block}.attn_k.weight", (shape.kv_heads * shape.head, width)),
            (f"{block}.attn_v.weight", (shape.kv_heads * shape.head, width)),
            (f"{block}.attn_output.weight", (width, shape.heads * shape.head)),
            (f"{block}.ffn_norm.weight", (width,)),
            *_feed_forward(block, shape),
        ]
    found.append(("output_norm.weight", (width,)))
    return found if shape.tied else [*found, ("output.weight", (shape.vocabulary, width))]


def _feed_forward(block: str, shape: Shape) -> list[tuple[str, tuple[int, ...]]]:
    width, inner, experts = shape.embedding, shape.feed_forward, shape.experts
    if experts:
        return [
            (f"{block}.ffn_gate_inp.weight", (experts, width)),
            (f"{block}.ffn_gate_exps.weight", (experts, inner, width)),
            (f"{block}.ffn_down_exps.weight", (experts, width, inner)),
            (f"{block}.ffn_up_exps.weight", (experts, inner, width)),
        ]
    gate = [(f"{block}.ffn_gate.weight", (inner, width))] if shape.gated else []
    return [*gate, (f"{block}.ffn_down.weight", (width, inner)), (f"{block}.ffn_up.weight", (inner, width))]
