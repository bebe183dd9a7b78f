"""Writes a folder of safetensors in another quantization.

int8, nf4 and fp4 through bitsandbytes, FP8 in blocks (``fp8``), GPTQ, AWQ and AutoRound through their own libraries
(``calibrated``). Everything runs on a CPU as well as on a card. The target appears complete or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from backends.errors import LoadError, TierError
from backends.models.quantizer import Progress
from backends.transformers_engine.calibrated import PACKAGES, check_calibrated, make_calibrated
from backends.transformers_engine.check import Checkpoint, check
from backends.transformers_engine.load import OFFLINE, TransformersOptions, open_model

BITSANDBYTES = ("int8", "nf4", "fp4")
METHODS = (*BITSANDBYTES, "fp8", *PACKAGES)


def quantize_folder(
    source: Path,
    method: str,
    target: Path,
    *,
    text: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    iterations: int = 0,
) -> Checkpoint:
    """Quantize a checkpoint and return the new one.

    Args:
        source: a folder of safetensors that is not quantized.
        method: one of ``METHODS``.
        target: the folder to write.
        text: calibration text; needed by GPTQ, AWQ and AutoRound, refused by the others.
        force: replace the target if it exists.
        progress: called with the share done, 0..1, where the method tells.
        iterations: rounds of tuning for each layer, AutoRound only; 0: the library's own number.

    Raises:
        ModelFileError: the source cannot be used.
        TierError: the method is not known, a package or the text is missing, the library refused, or the target exists
            or cannot be written.
        LoadError: a package is missing, or the model does not fit into memory.
    """
    if method not in METHODS:
        raise TierError(f"{method[:40]!a} is no quantization of a folder; there are {', '.join(METHODS)}")
    if method in PACKAGES:
        text = check_calibrated(method, text)
    elif text is not None:
        raise TierError(f"{method} is not fitted to a text; leave --calibration out")
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
        if text is not None:
            make_calibrated(source, method, text, room / "new", progress, iterations=iterations)
        else:
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


def _write(checkpoint: Checkpoint, method: str, folder: Path) -> None:
    """Load, quantized, and save. Raises LoadError or TierError."""
    if method == "fp8":
        model, tokenizer = open_model(checkpoint, TransformersOptions(device="cpu"))
        from backends.transformers_engine.fp8 import to_fp8

        to_fp8(model)
    else:
        model, tokenizer = open_model(checkpoint, TransformersOptions(quant=method))
    _save(model, folder)
    tokenizer.save_pretrained(folder)


def _save(model: Any, folder: Path) -> None:
    """Save the weights; what transformers raises becomes a LoadError."""
    try:
        model.save_pretrained(folder, safe_serialization=True)
    except (RuntimeError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoadError(f"transformers could not save the quantized model: {first[:200]}") from error
