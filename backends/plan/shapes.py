"""Published sizes of well-known models, for the memory guide.

From each model's ``config.json`` on the Hugging Face hub (name of the repository in ``source``), as of 2026-11.
``noted`` is what the notes this project started from said about the family, in GB: (16 bits, 4 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.models.shape import Shape


@dataclass(frozen=True, slots=True)
class Family:
    """One model of the guide."""

    name: str
    source: str
    shape: Shape
    noted: tuple[str, str] | None = None
    """Ranges in GB at 16 and 4 bits from the original notes."""


def _dense(layers: int, width: int, heads: tuple[int, int], inner: int, vocabulary: int, context: int) -> Shape:
    return Shape(layers, width, heads[0], heads[1], inner, vocabulary, context)


def _qwen(layers: int, width: int, heads: tuple[int, int], inner: int, *, tied: bool = False) -> Shape:
    return Shape(layers, width, heads[0], heads[1], inner, 151936, 40960, tied=tied, head_size=128)


FAMILIES = (
    Family("Qwen3 0.6B", "Qwen/Qwen3-0.6B", _qwen(28, 1024, (16, 8), 3072, tied=True)),
    Family(
        "TinyLlama 1.1B",
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        _dense(22, 2048, (32, 4), 5632, 32000, 2048),
        ("4–6", "2–3"),
    ),
    Family("Qwen3 1.7B", "Qwen/Qwen3-1.7B", _qwen(28, 2048, (16, 8), 6144, tied=True)),
    Family("Phi-2 2.7B", "microsoft/phi-2", Shape(32, 2560, 32, 32, 10240, 51200, 2048, gated=False), ("4–6", "2–3")),
    Family("Qwen3 4B", "Qwen/Qwen3-4B", _qwen(36, 2560, (32, 8), 9728, tied=True)),
    Family("LLaMA 7B", "meta-llama/Llama-2-7b-hf", _dense(32, 4096, (32, 32), 11008, 32000, 4096), ("16", "6–8")),
    Family("Mistral 7B", "mistralai/Mistral-7B-v0.3", _dense(32, 4096, (32, 8), 14336, 32768, 32768), ("20", "8–10")),
    Family("Llama 3.1 8B", "meta-llama/Llama-3.1-8B", _dense(32, 4096, (32, 8), 14336, 128256, 131072)),
    Family("Qwen3 8B", "Qwen/Qwen3-8B", _qwen(36, 4096, (32, 8), 12288)),
    Family(
        "LLaMA / Saiga 13B",
        "meta-llama/Llama-2-13b-hf",
        _dense(40, 5120, (40, 40), 13824, 32000, 4096),
        ("24–30", "11–14"),
    ),
    Family("Qwen3 14B", "Qwen/Qwen3-14B", _qwen(40, 5120, (40, 8), 17408)),
    Family(
        "Qwen3 30B-A3B",
        "Qwen/Qwen3-30B-A3B",
        Shape(48, 2048, 32, 4, 768, 151936, 40960, experts=128, experts_used=8, head_size=128),
    ),
    Family("LLaMA 30B", "huggyllama/llama-30b", _dense(60, 6656, (52, 52), 17920, 32000, 2048), ("45–60", "16–24")),
    Family("Qwen3 32B", "Qwen/Qwen3-32B", _qwen(64, 5120, (64, 8), 25600)),
    Family("LLaMA 65B", "huggyllama/llama-65b", _dense(80, 8192, (64, 64), 22016, 32000, 2048), ("80–100+", "32–48")),
    Family("Llama 3.3 70B", "meta-llama/Llama-3.3-70B-Instruct", _dense(80, 8192, (64, 8), 28672, 128256, 131072)),
)  # fmt: skip
