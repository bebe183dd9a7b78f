"""The pocket model in PyTorch: a plain Llama (Touvron et al. 2023), small enough to read in one sitting.

RMSNorm before each block (Zhang & Sennrich 2019), rotary positions in the half-split layout of Hugging Face (Su et al.
2021), SwiGLU feed-forward (Shazeer 2020), grouped-query attention (Ainslie et al. 2023), tied input and output
embeddings, no biases. Parameter names are those of ``transformers.LlamaForCausalLM`` so that a state dict is a
checkpoint of it as it stands. There is no cache and no sampling here: llama.cpp runs the model, this file trains it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import Shape


class RMSNorm(nn.Module):
    """Scale to unit root mean square, then by a learned gain."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis, computed in float32 whatever the autocast type is."""
        return functional.rms_norm(x.float(), (x.shape[-1],), self.weight, self.eps).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.k_proj = nn.Linear(shape.hidden, kv, bias=False)
        self.v_proj = nn.Linear(shape.hidden, kv, bias=False)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Attend within each row of ``x`` (batch, time, hidden)."""
        batch, time, _ = x.shape
        width, heads, kv_heads = self.shape.head_width, self.shape.heads, self.shape.kv_heads
        q = rotate(self.q_proj(x).view(batch, time, heads, width).transpose(1, 2), rotation)
        k = rotate(self.k_proj(x).view(batch, time, kv_heads, width).transpose(1, 2), rotation)
        v = self.v_proj(x).view(batch, time, kv_heads, width).transpose(1, 2)
        if kv_heads != heads:
            k = k.repeat_interleave(heads // kv_heads, dim=1)
            v = v.repeat_interleave(heads // kv_heads, dim=1)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, time, -1))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``down(silu(gate(x)) * up(x))``."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One transformer layer, residual around each half."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Add what the layer has to say to the stream ``x``."""
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Embedding, layers, last norm: what Hugging Face calls ``model``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)


class Pocket(nn.Module):
    """The language model. ``lm_head`` is the embedding itself."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        self.reset()

    def reset(self) -> None:
        """Draw fresh weights: fan-in scaled; what writes into the stream starts at zero, so a new layer is silent."""
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)
            elif "embed_tokens" in name:
                nn.init.normal_(parameter, std=0.02)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=1.0 / math.sqrt(parameter.shape[1]))

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states (batch, time, hidden) of ``tokens`` (batch, time)."""
        rotation = rotary_tables(self.shape, tokens.shape[1], tokens.device)
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, rotation)
        return self.model.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, time, vocabulary)."""
        return functional.linear(self.hidden(tokens), self.model.embed_tokens.weight)

    def loss(self, tokens: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted next-token loss.

        The output head is the dearest matrix of so small a model, so it runs only where a target counts.

        Args:
            tokens: (batch, time) input ids.
            targets: (batch, time) ids to predict.
            weights: (batch, time) non-negative weight of each target.

        Returns:
            The weighted sum of losses in nats, and the sum of weights.
        """
        flat = weights.reshape(-1)
        keep = flat.nonzero().squeeze(1)
        states = self.hidden(tokens).reshape(-1, self.shape.hidden)[keep]
        logits = functional.linear(states, self.model.embed_tokens.weight)
        losses = functional.cross_entropy(logits.float(), targets.reshape(-1)[keep], reduction="none")
        return (losses * flat[keep]).sum(), flat.sum()


def rotary_tables(shape: Shape, time: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (time, head width), for positions ``0..time-1``."""
    exponents = torch.arange(0, shape.head_width, 2, device=device, dtype=torch.float32) / shape.head_width
    angles = torch.outer(torch.arange(time, device=device, dtype=torch.float32), shape.rope_theta**-exponents)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the halves of each head by its position's angle; ``x`` is (batch, heads, time, width)."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cosine + torch.cat((-second, first), dim=-1) * sine).to(x.dtype)
