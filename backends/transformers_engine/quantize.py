"""Writes a folder of safetensors in another quantization: int8, nf4 and fp4 through bitsandbytes, on a CPU or a card.

The target appears complete or not at all. GPTQ, AWQ, AutoRound and FP8 are made by their own programs; what those write
is read (``formats``), and a request for one says which program makes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from backends.errors import LoadError, TierError
from backends.transformers_engine.check import Checkpoint, check
from backends.transformers_engine.load import OFFLINE, TransformersOptions, open_model

METHODS = ("int8", "nf4", "fp4")
MADE_ELSEWHERE = {
    "gptq": "GPTQModel (pip install gptqmodel)",
    "awq": "GPTQModel (pip install gptqmodel) or llm-compressor (pip install llmcompressor)",
    "autoround": "auto-round (pip install auto-round)",
    "fp8": "llm-compressor (pip install llmcompressor)",
}
"""Method -> the program that makes it."""


def quantize_folder(source: Path, method: str, target: Path, *, force: bool = False) -> Checkpoint:
    """Quantize a checkpoint and return the new one.

    Args:
        source: a folder of safetensors that is not quantized.
        method: one of ``METHODS``.
        target: the folder to write.
        force: replace the target if it exists.

    Raises:
        ModelFileError: the source cannot be used.
        TierError: the method is not known or made elsewhere, or the target exists or cannot be written.
        LoadError: a package is missing, or the model does not fit into memory.
    """
    _check_method(method)
    checkpoint = check(source)
    if checkpoint.quantization is not None:
        raise TierError(
            f"{source} is quantized already ({checkpoint.quantization.need.name}); take the 16-bit checkpoint"
        )
    if target.exists() and not force:
        raise TierError(f"{target} exists already; replace it with --force, or name another folder with --output")
    if target.resolve() == source.resolve():
        raise TierError("the output would replace the model itself; name another folder with --output")
    os.environ.update(OFFLINE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise TierError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        _write(checkpoint, method, room / "new")
        made = check(room / "new")
        if target.exists():
            target.rename(room / "old")
        (room / "new").rename(target)
    except OSError as error:
        raise TierError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return check(target) if made.path != target else made


def _check_method(method: str) -> None:
    """Raises TierError for what cannot be made here."""
    if method in METHODS:
        return
    program = MADE_ELSEWHERE.get(method.replace("-", "").replace("_", ""))
    if program is None:
        raise TierError(f"{method[:40]!a} is no quantization of a folder; there are {', '.join(METHODS)}")
    raise TierError(f"{method} is made by {program}; fovea runs what it writes: fovea chat --model FOLDER")


def _write(checkpoint: Checkpoint, method: str, folder: Path) -> None:
    """Load, quantized, and save. Raises LoadError."""
    model, tokenizer = open_model(checkpoint, TransformersOptions(quant=method))
    _save(model, folder)
    tokenizer.save_pretrained(folder)


def _save(model: Any, folder: Path) -> None:
    """Save the weights; what transformers raises becomes a LoadError."""
    try:
        model.save_pretrained(folder, safe_serialization=True)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoadError(f"transformers could not save the quantized model: {first[:200]}") from error
