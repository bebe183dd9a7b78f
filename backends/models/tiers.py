"""The tiers of one model: named, found, and made from its 16-bit file where they are missing.

Tiers made here are derived data: they lie in the cache folder under the model's content key, so that a changed model
never gets another model's tiers, and they can be deleted at any time. A tier appears in one ``os.replace``; a file
lock keeps two processes from making it twice; whatever a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends.errors import ModelFileError, TierError
from backends.models import quantizer
from backends.models.gguf_file import ModelFile, read_model
from backends.models.gguf_header import shown
from backends.models.gguf_types import FILE_TYPES, NEEDS_IMATRIX, NUMBER
from backends.models.identity import content_key, folder_name
from backends.models.quantizer import Progress
from backends.models.recipes import best_four_bit, predicted_bytes
from backends.types import EIGHT, FOUR, SIXTEEN, TierSpec

_ORDER = {FOUR: 4.0, EIGHT: 8.0, SIXTEEN: 16.0}
_MARGIN = 64 << 20
"""Bytes that stay free on the disk beside a new tier."""


def recipe_for(model: ModelFile, tier: str) -> str:
    """The recipe that makes ``tier``: Q8_0, Q4_K_M (Q4_0 where the shape does not allow it), or the one it names.

    Raises:
        TierError: no recipe has this name.
    """
    if tier == FOUR:
        return best_four_bit(model.tensors)
    if tier == EIGHT:
        return "Q8_0"
    if tier == SIXTEEN:
        return "F16"
    recipe = tier.upper().replace("-", "_")
    if recipe not in FILE_TYPES:
        raise TierError(f"{tier!a} is not a tier or a quantization; known are 4-bit, 8-bit, 16-bit, q4_k_m, q6_k, …")
    return recipe


def tier_path(model: ModelFile, tier: str, cache: Path, *, hybrid: bool = False) -> Path:
    """Where the cache keeps (or would keep) this tier."""
    name = recipe_for(model, tier) + ("-hybrid" if hybrid else "")
    return cache / "tiers" / folder_name(model, content_key(model)) / f"{name}.gguf"


def ensure_tier(model: Path, tier: str, cache: Path, progress: Progress | None = None, *, hybrid: bool = False) -> Path:
    """The file of ``tier``: the model itself where it is that tier, else the cached file, made now if it is missing.

    Args:
        model: a GGUF file; the first part where there are several.
        tier: ``4-bit``, ``8-bit``, ``16-bit`` or a recipe such as ``q5_k_m``.
        cache: the cache folder (created).
        progress: called with the share done, 0..1, while a tier is being made.
        hybrid: inner layers quantized, token embeddings and output head left at 16 bits.

    Raises:
        ModelFileError: the model cannot be used.
        TierError: the tier cannot be made from this file, or not stored.
    """
    found = read_model(model)
    if not hybrid and tier == found.tier:
        return found.path
    target = tier_path(found, tier, cache, hybrid=hybrid)
    if _is_complete(target):
        return target
    if tier == SIXTEEN or (found.tier != SIXTEEN and not (found.tier == EIGHT and tier == FOUR)):
        raise TierError(
            f"{shown(found.path)} is {found.tier}: {tier} cannot be made from it without a 16-bit file; "
            "fetch the 16-bit file of this model"
        )
    make_quant(found.path, recipe_for(found, tier), target, progress, hybrid=hybrid)
    return target


def ladder_for(
    model: Path, cache: Path, names: Sequence[str], progress: Progress | None = None
) -> tuple[TierSpec, ...]:
    """The named tiers of one model as a ladder, low to high, made where they are missing."""
    share = 1 / max(len(names), 1)
    made = []
    for done, name in enumerate(sorted(set(names), key=lambda n: _ORDER.get(n, 0.0) or _bits(n))):
        step = None if progress is None else _scaled(progress, done * share, share)
        made.append(TierSpec(name, ensure_tier(model, name, cache, step)))
    return tuple(made)


def make_quant(
    model: Path,
    recipe: str,
    out: Path,
    progress: Progress | None = None,
    *,
    hybrid: bool = False,
    imatrix: Path | None = None,
    replace: bool = False,
) -> Path:
    """Quantize ``model`` with a recipe (``Q4_K_M``, ``Q6_K`` …) to ``out``, atomically, and return ``out``.

    A whole file that is already at ``out`` is kept, unless ``replace``.

    Raises:
        ModelFileError: the model cannot be used.
        TierError: the recipe cannot be made (unknown, needs an importance matrix) or not stored.
    """
    found = read_model(model)
    if recipe not in FILE_TYPES:
        raise TierError(f"{recipe!a} is not a quantization llama.cpp makes")
    if recipe in NEEDS_IMATRIX and imatrix is None:
        raise TierError(f"{recipe} needs an importance matrix: give a calibration text (--calibration FILE)")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            if replace or not _is_complete(out):
                _make(found, recipe, out, progress, hybrid=hybrid, imatrix=imatrix)
    except OSError as error:
        raise TierError(f"{shown(out)} cannot be written: {error.strerror or error}") from error
    if progress:
        progress(1.0)
    return out


def _make(
    model: ModelFile, recipe: str, out: Path, progress: Progress | None, *, hybrid: bool, imatrix: Path | None
) -> None:
    # The lock is ours, so whatever lies here half done belongs to a run that was killed.
    for stale in out.parent.glob(f".{out.name}.*.partial"):
        stale.unlink(missing_ok=True)
    _check_space(model, recipe, out, hybrid)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    kept = NUMBER["BF16" if "BF16" in model.types() else "F16"] if hybrid else None
    job = quantizer.Job(
        source=str(model.path),
        target=str(partial),
        ftype=FILE_TYPES[recipe],
        embedding_type=kept,
        output_type=kept,
        requantize=model.tier != SIXTEEN,
        imatrix=str(imatrix) if imatrix else None,
    )
    try:
        quantizer.run(job, {tensor.name: tensor.bytes for tensor in model.tensors}, progress)
        read_model(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(out)
    except ModelFileError as error:
        raise TierError(f"the quantizer wrote a file that cannot be used: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_space(model: ModelFile, recipe: str, out: Path, hybrid: bool) -> None:
    needed = predicted_bytes(model.tensors, recipe, hybrid=hybrid) + model.header.data_offset + _MARGIN
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise TierError(
            f"{recipe} of {shown(model.path)} needs about {needed / 1e6:,.0f} MB in {shown(out.parent)}, "
            f"where {free / 1e6:,.0f} MB are free; free some space or set another cache folder"
        )


def _is_complete(path: Path) -> bool:
    """Whether a made tier is there and whole (a full disk or a crash of the machine can cut files short)."""
    if not path.is_file():
        return False
    try:
        read_model(path)
    except ModelFileError:
        return False
    return True


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(name := out.with_name(f".{out.name}.lock")):
        try:
            yield
        finally:
            # While it is ours: whoever waits for it finds it unlinked and takes a new one. Windows keeps it.
            with contextlib.suppress(OSError):
                name.unlink()


def _scaled(progress: Progress, start: float, share: float) -> Progress:
    return lambda done: progress(start + share * done)


def _bits(name: str) -> float:
    digits = [int(letter) for letter in name if letter.isdigit()]
    return float(digits[0]) if digits else 0.0
