"""How much memory one tier takes, part by part.

Two figures for the working memory, because they differ: llama.cpp *reserves* buffers for the widest batch with logits
for every token, but on a CPU only the pages that are written count, and fovea never asks for more than
``scored_tokens`` rows of logits at once. On a graphics card the reserved figure counts.

The formulas were fitted against the buffers llama.cpp 0.3.36 reports for random models (``bench/plan_accuracy.py``
compares them with measured peaks; docs/hardware.md has the table). Per token of a micro-batch, in float32:

* feed-forward phase: 3 × inner width + 4 × embedding (all experts at work count as inner width);
* attention phase: 2 × embedding + 2 × query width + 2.5 × key width;
* output phase: vocabulary + 2 × embedding;
* the attention mask: one float16 for each cell of the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from backends.models.gguf_types import BY_NAME
from backends.plan.layout import Layout

_VOCABULARY_ENTRY, _MERGE = 165, 130
"""Bytes of llama.cpp's tokenizer tables for one token and one merge (measured)."""
_LOADED = 3_000_000
"""Bytes a loaded model and context take besides everything that scales (measured)."""
_THREAD_WORK = 4_000_000
"""Quantized activations and attention scratch of the CPU kernels at a batch of 512 (measured: 2 to 6 MB)."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a tier is to be run."""

    ctx: int = 4096
    """Tokens in the cache, all sequences together."""
    batch: int = 512
    sequences: int = 4
    cache_type: str = "F16"
    full_window: bool = True
    """Sliding-window layers keep the whole context (llama.cpp's default), so that replies can be cut back."""
    features: frozenset[str] = frozenset()
    """The processor's, see ``Hardware.features``: some kernels want a second copy of the weights."""

    @property
    def micro_batch(self) -> int:
        """Tokens computed at once."""
        return min(self.batch, 512, self.ctx)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes one tier takes."""

    weights: int
    """Tensors, mapped from the file."""
    copy: int
    """Second, rearranged copy of some weights that llama.cpp makes for the CPU's wide instructions."""
    cache: int
    work: int
    """Buffers a computation writes to."""
    tables: int
    """Tokenizer and bookkeeping."""
    reserved: int
    """What llama.cpp reserves for the work; counts in place of ``work`` on a graphics card."""

    @property
    def peak(self) -> int:
        """Resident bytes on a CPU at the peak, as long as there is room."""
        return self.weights + self.copy + self.cache + self.work + self.tables

    @property
    def least(self) -> int:
        """Bytes that must stay in main memory.

        Rearranged weights are never read from the file's pages again: the system drops those when it needs the room.
        """
        return self.peak - self.copy


def estimate(layout: Layout, run: Run) -> Estimate:
    """The memory one tier takes."""
    rows = scored_tokens(layout.vocabulary, run)
    layer, mask = _layer_floats(layout), cells(run) * 2
    tokens = run.micro_batch
    outputs = 4 * layout.vocabulary * max(rows, run.sequences)
    tail = 8 * layout.embedding * tokens
    reserved = max((4 * layer + mask) * tokens, tail + 4 * layout.vocabulary * tokens)
    work = max((4 * layer + mask) * tokens, tail + 4 * layout.vocabulary * rows)
    return Estimate(
        weights=layout.sums.weights,
        copy=rearranged(layout, run.features),
        cache=cache_bytes(layout, run),
        work=work + outputs + _THREAD_WORK * tokens // 512,
        tables=_LOADED + _VOCABULARY_ENTRY * layout.vocabulary + _MERGE * layout.merges,
        reserved=reserved + outputs,
    )


def scored_tokens(vocabulary: int, run: Run) -> int:
    """Rows of logits asked for at once when a reply is read at a higher tier: at most 256, and 64 MB of them."""
    return max(1, min(256, 16_000_000 // max(vocabulary, 1), run.batch))


def cells(run: Run) -> int:
    """Cells of the cache: llama.cpp rounds up to whole 256."""
    return max(256, math.ceil(run.ctx / 256) * 256)


def cache_bytes(layout: Layout, run: Run) -> int:
    """Bytes of the key/value cache and of recurrent states."""
    kind = BY_NAME[run.cache_type]
    whole = cells(run)
    short = min(whole, math.ceil((layout.window * run.sequences + run.micro_batch) / 256) * 256)
    total = 0
    for layer in layout.layers:
        count = short if layer.windowed and not run.full_window else whole
        total += kind.size((count * (layer.keys + layer.values),)) + 4 * layer.state * run.sequences
    return total


def rearranged(layout: Layout, features: frozenset[str]) -> int:
    """Bytes of the weights llama.cpp copies into another order (``ggml-cpu/repack.cpp``) on such a processor."""
    kinds: dict[str, int] = {}
    if "avx2" in features:
        kinds = {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "MXFP4": 8}
        kinds |= {"Q2_K": 8} if "avx512" in features else {}
    elif "neon" in features and features & {"dotprod", "i8mm"}:
        kinds = {"Q4_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "Q8_0": 4, "IQ4_NL": 4, "MXFP4": 4}
    return sum(size for (kind, rows), size in layout.sums.matrices.items() if rows >= kinds.get(kind, 9))


def _layer_floats(layout: Layout) -> int:
    """Float32 elements for each token while one layer is computed."""
    query = layout.heads * layout.head
    key = max((layer.keys for layer in layout.layers), default=0)
    attention = 2 * layout.embedding + 2 * query + 5 * key // 2
    experts = 2 * layout.experts_used * layout.embedding
    forward = max(3 * layout.feed_forward, layout.feed_forward + experts) + 4 * layout.embedding
    return max(attention, forward)
