"""Command lines for serving a model with vLLM, from the plan's own figures.

vLLM serves 16-bit (or FP8) checkpoints from the Hugging Face hub on graphics cards. Split over cards of one machine it
cuts every layer (tensor parallel, a number that divides the attention heads); over several machines it puts layers one
after the other (pipeline parallel, through Ray). Flags as in vLLM's documentation ("Parallelism and Scaling",
"Engine Arguments"); the lines are computed, they were not run where fovea is developed.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from backends.plan.estimate import Run, cache_bytes
from backends.plan.layout import Layout
from backends.plan.reasons import size

_UTILIZATION = 0.9
"""vLLM's own default share of a card."""
_WORK = 2_500_000_000
"""Bytes on each card for activations and CUDA graphs (vLLM profiles them at start; 1 to 3 GB is usual)."""
_PER_MACHINE = 8


@dataclass(frozen=True, slots=True)
class Serving:
    """Command lines and why."""

    commands: tuple[str, ...]
    reasons: tuple[str, ...]
    cards: int
    fits: bool


def vllm(layout: Layout, repo: str, *, cards: int, card_bytes: int, ctx: int, stored: str = "") -> Serving:
    """How to serve ``repo`` (of this layout) on ``cards`` equal cards with ``ctx`` tokens for one conversation.

    Never refuses: where nothing fits, the line for all cards at FP8 is given and said to be too small.
    ``stored`` names the quantization of a checkpoint that came quantized: vLLM reads it from config.json, and the
    weights are counted as they are.
    """
    parameters = sum(tensor.elements for tensor in layout.tensors)
    cache = cache_bytes(layout, Run(ctx=ctx))
    options = [("", 2 * parameters), ("fp8", parameters)]
    if stored:
        options = [(stored, sum(tensor.bytes for tensor in layout.tensors))]
    for kind, weights in options:
        for count in _counts(layout, cards):
            if weights + cache + _WORK * count <= card_bytes * _UTILIZATION * count:
                return _serving(layout, repo, count, kind, ctx, weights + cache, fits=True)
    kind, weights = options[-1]
    return _serving(layout, repo, _counts(layout, cards)[-1], kind, ctx, weights + cache, fits=False)


def _counts(layout: Layout, cards: int) -> list[int]:
    """Numbers of cards a model can be split over: within a machine a divisor of its heads, then whole machines."""
    inside = [count for count in (1, 2, 4, 8) if count <= cards and layout.heads % count == 0]
    most = inside[-1]
    return inside + [most * machines for machines in (2, 3, 4) if most == _PER_MACHINE and most * machines <= cards]


def _serving(layout: Layout, repo: str, count: int, kind: str, ctx: int, needed: int, *, fits: bool) -> Serving:
    inside = min(count, _PER_MACHINE)
    machines = count // inside
    line = ["vllm", "serve", shlex.quote(repo), "--max-model-len", str(min(ctx, layout.context or ctx))]
    line += {"": ["--dtype", "bfloat16"], "fp8": ["--quantization", "fp8"]}.get(kind, [])
    line += ["--tensor-parallel-size", str(inside)] if inside > 1 else []
    commands = []
    if machines > 1:
        line += ["--pipeline-parallel-size", str(machines), "--distributed-executor-backend", "ray"]
        commands = ["ray start --head --port=6379                # on the first machine"]
        commands += ["ray start --address=FIRST_MACHINE:6379      # on every other machine"]
    commands.append(" ".join(line))
    precision = {"": "16 bits", "fp8": "FP8 (needs a card of the Ada generation or later)"}.get(kind, kind)
    said = [f"{size(needed)} of weights and cache at {precision}, on {count} card{'s' if count > 1 else ''}"]
    if not fits:
        said.append("expected not to fit: more or larger cards, a shorter ctx, or a checkpoint quantized to 4 bits")
    said.append("as a tier of fovea: {url: http://SERVER:8000/v1, model: " + repo + "}")
    return Serving(tuple(commands), tuple(said), count, fits)
