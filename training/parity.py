"""Does the GGUF say what the PyTorch model says? Tokens must be equal, logits nearly so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.formats import Message, grounded_question, render
from training.llama_file import LlamaFile
from training.model import Pocket

SAMPLE_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "It's 12:45 on 3 March 2024; we've paid $1,299.95 (that's 7% off)!",
    "Привет! Как дела? Ёжик бежит по тёмному лесу — и поёт.",
    "Emoji 🦊👩‍👩‍👧 and flags 🇫🇷, naïve café, Straße, Ελληνικά, 日本語, العربية, हिन्दी",
    "def f(x):\n\treturn {'a': [x ** 2 for _ in range(10)]}  # tabs,  double  spaces\n\n\n    indented",
    "   leading spaces, trailing spaces   \n\r\n\t mixed \u00a0 no-break \u2003 em space",
    "¼ ½ ² ₃ Ⅷ ٣ ১ mixed number signs x2y3z40",
    "don't we'll I'M they'Re 'quoted' ''double''",
    render(
        [
            Message("system", "You are fovea, a small helpful assistant."),
            Message("user", grounded_question("Where is the key?", [("note", "The key is in the hall.")])),
        ],
        generation_prompt=True,
    ),
)


def compare_tokens(gguf: Path, tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """The texts that llama.cpp and the trained tokenizer split differently."""
    with LlamaFile(gguf) as llama:
        return [text for text in texts if llama.tokens(text) != tokenizer.encode(text).ids]


def compare_logits(gguf: Path, model: Pocket, tokenizer: Any, texts: Sequence[str], wide_cache: bool = False) -> float:
    """The largest absolute difference between llama.cpp's and PyTorch's logits over all positions of all texts."""
    worst = 0.0
    with LlamaFile(gguf, wide_cache=wide_cache) as llama, torch.no_grad():
        for text in texts:
            ids = tokenizer.encode(text).ids
            ours = model(torch.tensor([ids]))[0].numpy()
            worst = max(worst, float(np.abs(ours - llama.logits(ids)).max()))
    return worst
