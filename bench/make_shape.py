"""A Llama shape with random weights as a 16-bit GGUF: what a model of that size costs, whatever it says.

Speeds and memory of an engine depend on a model's shape, not on what it learnt. The file is written tensor by tensor,
so it may be larger than memory; the same seed gives the same bytes.

    python -m bench.make_shape --shape 1.1b --out build/shape-1.1b-F16.gguf
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from training.config import Shape
from training.formats import SPECIAL_TOKENS
from training.gguf_file import TensorPlan, Vocabulary, write_gguf

SHAPES = {
    "tiny": Shape(vocabulary=1024, hidden=256, layers=2, heads=4, kv_heads=2, feed_forward=512, context=2048),
    "0.1b": Shape(vocabulary=32000, hidden=768, layers=12, heads=12, kv_heads=4, feed_forward=2048, context=4096),
    "0.5b": Shape(vocabulary=32000, hidden=1280, layers=20, heads=20, kv_heads=4, feed_forward=4352, context=4096),
    # TinyLlama's proportions (Zhang et al. 2024), embeddings tied.
    "1.1b": Shape(vocabulary=32000, hidden=2048, layers=22, heads=32, kv_heads=4, feed_forward=5632, context=4096),
    "3b": Shape(vocabulary=32000, hidden=3072, layers=26, heads=24, kv_heads=8, feed_forward=8192, context=4096),
}
CHUNK = 1 << 22  # random numbers drawn at a time


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(moved))]


def filler_vocabulary(size: int) -> Vocabulary:
    """Special tokens, the 256 bytes, and letter pairs, triples … up to ``size``; every text can be encoded.

    Raises:
        ValueError: ``size`` has no room for the bytes.
    """
    if size < 256 + len(SPECIAL_TOKENS):
        raise ValueError(f"a vocabulary of {size} has no room for 256 bytes and {len(SPECIAL_TOKENS)} special tokens")
    tokens = [*SPECIAL_TOKENS, *byte_alphabet()]
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    merges: list[str] = []
    level = list(letters)
    while len(tokens) < size:
        longer = []
        for left in level:
            for right in letters:
                if len(tokens) == size:
                    break
                tokens.append(left + right)
                merges.append(f"{left} {right}")
                longer.append(left + right)
        level = longer
    return Vocabulary(tokens, merges, "gpt-2")


def random_tensor(item: TensorPlan, seed: int) -> np.ndarray[Any, Any]:
    """Values of one tensor: ones for norms, else uniform with variance 1 / columns, seeded by the tensor's name."""
    if len(item.shape) == 1:
        return np.ones(item.shape, dtype=np.float32)
    generator = np.random.default_rng([seed, zlib.crc32(item.name.encode())])
    flat = np.empty(int(np.prod(item.shape)), dtype=np.float16)
    bound = float(np.sqrt(3.0 / item.shape[1]))
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        part[:] = (generator.random(part.size, dtype=np.float32) - 0.5) * (2.0 * bound)
    return flat.reshape(item.shape)


def make_shape(path: Path, shape: Shape, seed: int = 0, name: str = "random") -> None:
    """Write a model of random weights.

    Args:
        path: the GGUF to write (atomically).
        shape: the architecture.
        seed: the same seed gives the same file.
        name: goes into ``general.name``.
    """
    about = {"name": f"shape-{name}", "description": "Random weights, for measuring speed only"}
    write_gguf(path, shape, filler_vocabulary(shape.vocabulary), lambda item: random_tensor(item, seed), about)


def main() -> None:
    """Write one of the shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1.1b")
    parser.add_argument("--out", type=Path, help="default: build/shape-SHAPE-F16.gguf")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    out = arguments.out or Path("build") / f"shape-{arguments.shape}-F16.gguf"
    out.parent.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[arguments.shape]
    make_shape(out, shape, arguments.seed, arguments.shape)
    print(f"{out}: {shape.parameters / 1e6:.0f}M parameters, {out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
