"""The child that quantizes a folder with GPTQModel or auto-round. Started by file name; imports nothing of fovea.

The first line of standard input is a JSON object: ``method`` (gptq, awq, autoround), ``source`` and ``target``
(folders), ``text`` (a file), ``chunks`` and ``length`` (of the text: at most chunks × length tokens), ``iterations``
(autoround only; 0: the library's own number). The libraries' messages go to standard error. Standard input is also the
lifeline: when it closes, the parent is gone and so is this process. Exit code 0 on success.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

BITS = 4


def _follow_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def _calibration(job: dict[str, Any], tokenizer: Any) -> list[list[int]]:
    """The text as chunks of tokens, all of one length."""
    text = Path(job["text"]).read_text(encoding="utf-8", errors="replace")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    length = min(job["length"], len(ids) // 4)  # a short text: four short chunks
    if length < 32:
        raise SystemExit(f"failed: the text has {len(ids)} tokens; at least 128 are needed")
    return [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)][: job["chunks"]]


def _group_size(source: str) -> int:
    """128, or the largest smaller power of two that divides every row."""
    config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    rows = [config.get(name) or 0 for name in ("hidden_size", "intermediate_size", "moe_intermediate_size")]
    return next((size for size in (128, 64, 32, 16) if not any(row % size for row in rows)), -1)


def _gptqmodel(job: dict[str, Any], tokenizer: Any, chunks: list[list[int]]) -> None:
    import torch
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
    from gptqmodel.quantization import FORMAT, METHOD

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options: dict[str, Any] = {"bits": BITS, "group_size": _group_size(job["source"]), "sym": True, "device": device}
    backend = {}
    if job["method"] == "awq":
        options |= {"quant_method": METHOD.AWQ, "format": FORMAT.GEMM}
        if device == "cpu":
            backend = {"backend": BACKEND.AWQ_TORCH}  # the packer it takes by itself needs a card
    else:
        options["desc_act"] = False
    model = GPTQModel.load(job["source"], QuantizeConfig(**options))
    data = [{"input_ids": torch.tensor([chunk]), "attention_mask": torch.ones(1, len(chunk), dtype=torch.long)}
            for chunk in chunks]  # fmt: skip
    model.quantize(data, batch_size=1, **backend)
    model.save(job["target"])
    tokenizer.save_pretrained(job["target"])


def _auto_round(job: dict[str, Any], tokenizer: Any, chunks: list[list[int]]) -> None:
    import torch
    from auto_round import AutoRound
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job["source"], local_files_only=True, use_safetensors=True)
    options = {"iters": job["iterations"]} if job["iterations"] else {}
    rounding = AutoRound(
        model,
        tokenizer,
        bits=BITS,
        group_size=_group_size(job["source"]),
        sym=True,
        dataset=[torch.tensor([chunk]) for chunk in chunks],
        seqlen=len(chunks[0]),
        nsamples=len(chunks),
        device_map="cuda" if torch.cuda.is_available() else "cpu",
        enable_torch_compile=torch.cuda.is_available(),  # on a CPU compiling costs more than it saves
        **options,
    )
    rounding.quantize()
    rounding.save_quantized(job["target"], format="auto_round")
    tokenizer.save_pretrained(job["target"])


def main() -> int:
    """Quantize as the request on standard input says."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_follow_parent, daemon=True).start()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["source"], local_files_only=True)
    chunks = _calibration(job, tokenizer)
    (_auto_round if job["method"] == "autoround" else _gptqmodel)(job, tokenizer, chunks)
    return 0


if __name__ == "__main__":
    # os._exit: the lifeline thread may sit in a read, and these libraries leave threads of their own behind.
    try:
        code = main()
    except SystemExit as stop:
        print(stop.code, file=sys.stderr)  # noqa: T201
        code = 1
    except Exception as error:
        print(f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}", file=sys.stderr)  # noqa: T201
        code = 1
    sys.stderr.flush()
    os._exit(code)
