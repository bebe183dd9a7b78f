"""Shapes and settings of the pocket model, as values that are stored beside every checkpoint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama architecture.

    Widths that quantized kernels read along a row (``hidden``, ``feed_forward``) must be multiples of 256: that is the
    super-block of llama.cpp's K-quants, and other shapes fall back to coarser formats.
    """

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 4
    feed_forward: int = 768
    context: int = 2048
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse a shape that no engine could run.

        Raises:
            ValueError: a width does not divide as the architecture needs.
        """
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden {self.hidden} must divide by heads {self.heads}, heads by kv_heads {self.kv_heads}"
            )
        if (self.hidden // self.heads) % 2:
            raise ValueError(f"the head width {self.hidden // self.heads} must be even for rotary positions")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def k_quants_apply(self) -> bool:
        """Whether every matrix row is a whole number of K-quant super-blocks (256 weights)."""
        return self.hidden % 256 == 0 and self.feed_forward % 256 == 0

    @property
    def parameters(self) -> int:
        """Number of weights, the tied embedding counted once."""
        kv = self.kv_heads * self.head_width
        layer = 2 * self.hidden * self.hidden + 2 * self.hidden * kv + 3 * self.hidden * self.feed_forward
        return self.vocabulary * self.hidden + self.layers * (layer + 2 * self.hidden) + self.hidden


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that decides a training run besides the data and the shape.

    The schedule counts tokens, never time: a machine that is paused or shared trains the same model, only later. The
    stages of the data share the tokens as their sizes do. ``plant_induction``: fresh weights begin with the circuit of
    ``training.induction``.
    Learning rate: linear warm-up, flat, then linear to zero over the last ``cooldown`` share (WSD, Hägele et al. 2024).
    """

    seed: int = 1
    tokens: int = 8_000_000
    batch_tokens: int = 8192
    warmup_share: float = 0.02
    cooldown_share: float = 0.35
    matrix_lr: float = 0.02
    other_lr: float = 0.004
    momentum: float = 0.95
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    save_every: int = 25
    bf16: bool = False
    plant_induction: bool = False


def to_json(value: Shape | TrainSettings) -> dict[str, Any]:
    """The value as a JSON object."""
    return dataclasses.asdict(value)


def read_shape(path: Path) -> Shape:
    """Read a shape stored by ``to_json``."""
    return Shape(**json.loads(path.read_text(encoding="utf-8")))
