"""Makes compressed-tensors checkpoints with llm-compressor, in the environment that has it; imports nothing of fovea.

llm-compressor 0.14 wants transformers 5.17 or older, so it lives in an environment of its own (``bench.quantization``
says how) and only this file runs there.

    PYTHON bench/compressed_checkpoints.py FOLDER TEXT OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CHUNKS, LENGTH = 64, 512
SCHEMES = {"FP8_DYNAMIC": False, "W8A8": True, "W4A16-GPTQ": True, "NVFP4A16": False}
"""Scheme -> whether it is fitted to the text."""


def main() -> None:
    """Write one folder for each scheme; those that exist are kept."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, text, out = sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8"), Path(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(source)
    ids = tokenizer(text)["input_ids"]
    starts = range(0, len(ids) - LENGTH, LENGTH)[:CHUNKS]
    chunks = Dataset.from_list([{"input_ids": ids[s : s + LENGTH], "attention_mask": [1] * LENGTH} for s in starts])
    for name, fitted in SCHEMES.items():
        target = out / f"compressed-{name}"
        if (target / "config.json").exists():
            continue
        modifier = GPTQModifier if name.endswith("-GPTQ") else QuantizationModifier
        recipe = modifier(targets="Linear", scheme=name.removesuffix("-GPTQ"), ignore=["lm_head"])
        model: Any = AutoModelForCausalLM.from_pretrained(source, device_map={"": "cpu"})
        data = {"dataset": chunks, "max_seq_length": LENGTH, "num_calibration_samples": len(chunks)} if fitted else {}
        oneshot(model=model, recipe=recipe, tokenizer=tokenizer, **data)
        model.save_pretrained(target, save_compressed=True)
        tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main()
