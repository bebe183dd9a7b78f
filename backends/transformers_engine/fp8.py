"""Writes weights as FP8 (E4M3) in blocks of 128 × 128, each with a scale.

The form of DeepSeek-V3 (DeepSeek-AI 2024, section 3.3) and of Qwen3's FP8 folders, which transformers and vLLM read.

No text and no card is needed: every block is divided by its largest magnitude ÷ 448 and rounded to the nearest.
Embeddings, norms and the output head stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch

from backends.errors import TierError

BLOCK = 128
TYPE = torch.float8_e4m3fn
LARGEST = torch.finfo(TYPE).max
"""448."""


def to_fp8(model: Any) -> None:
    """Turn the inner matrices of a loaded model into FP8, in place, ready to be saved.

    Matrices that are not whole blocks stay as they are and are named in the config.

    Raises:
        TierError: a mixture of experts (its experts are no plain matrices in transformers), or nothing to quantize.
    """
    head = model.get_output_embeddings()
    matrices = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    if any(".experts" in name for name, _ in model.named_modules()):
        raise TierError("fp8 of a mixture of experts is made by llm-compressor (pip install llmcompressor), not here")
    skipped = sorted(n for n, m in matrices.items() if m.weight.shape[0] % BLOCK or m.weight.shape[1] % BLOCK)
    if len(skipped) == len(matrices):
        raise TierError(f"no matrix of this model is made of blocks of {BLOCK} × {BLOCK}: fp8 would change nothing")
    for name in matrices.keys() - set(skipped):
        module = matrices[name]
        packed, scale = quantize_blocks(module.weight.detach())
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
        module.register_buffer("weight_scale_inv", scale)
    model.config.quantization_config = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
        "modules_to_not_convert": ["lm_head", *skipped],
    }


def quantize_blocks(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One matrix ``[rows, columns]`` of whole blocks as (FP8 of the same shape, float32 scales of each block).

    ``weight ≈ fp8 × scale``, the scale being what the file format calls ``weight_scale_inv``.
    """
    rows, columns = weight.shape[0] // BLOCK, weight.shape[1] // BLOCK
    blocks = weight.float().reshape(rows, BLOCK, columns, BLOCK)
    scale = blocks.abs().amax(dim=(1, 3)) / LARGEST
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    packed = (blocks / scale[:, None, :, None]).clamp(-LARGEST, LARGEST).to(TYPE)
    return packed.reshape(weight.shape), scale
