"""``fovea models quantize``: one GGUF file, or one folder of safetensors, in another quantization."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tui.commands.model_tools import Bar, cache_folder, plainly, resolve, say_json, size

OF_FOLDERS = frozenset({"int8", "nf4", "fp4", "fp8", "gptq", "awq", "autoround"})
"""``backends.transformers_engine.quantize.METHODS``, which would import too much for a help text."""


@click.command("quantize")
@click.argument("model")
@click.option("--to", "recipe", required=True, help="The quantization to write; see above.")
@click.option("--hybrid", is_flag=True, help="Leave token embeddings and output head at 16 bits.")
@click.option("--calibration", type=click.Path(path_type=Path), help="A text: round so that what it uses stays.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write (otherwise beside MODEL).")
@click.option("--force", is_flag=True, help="Replace the output file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def quantize(
    model: str, recipe: str, hybrid: bool, calibration: Path | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Write MODEL (a file, a folder, or a name from the list) in another quantization.

    \b
    A GGUF file:   q8_0 q6_k q5_k_m q4_k_m q4_0 q3_k_m q2_k iq4_xs iq2_xs …
    A folder of    int8 nf4 fp4         through bitsandbytes
    safetensors:   fp8                  E4M3 in blocks of 128 x 128
                   gptq awq autoround   fitted to a text: --calibration FILE

    The tiers of a ladder are made with `fovea models tiers`; this is for every other format, and for choosing where
    the file goes. The smallest formats of GGUF (iq2_xs and below) need --calibration too.
    """  # noqa: D301  # click wants the backspace character itself
    from backends.models.gguf_file import read_model
    from backends.models.imatrix import ensure_imatrix
    from backends.models.tiers import make_quant, recipe_for

    path = resolve(model)
    if path.is_dir():
        if hybrid:
            raise click.ClickException(
                "--hybrid is for GGUF files; in a folder embeddings and head stay at 16 bits anyway"
            )
        _folder(path, _method(recipe), output, calibration, force=force, as_json=as_json)
        return
    if _method(recipe) in OF_FOLDERS:
        raise click.ClickException(f"{recipe} is made from a folder of safetensors; {model} is a GGUF file")
    source = read_model(path)
    kind = recipe_for(source, recipe)
    target = output or _beside(source.path, kind, hybrid)
    if target.exists() and not force:
        raise click.ClickException(f"{target} exists already; --force replaces it, --output names another file")
    if target.resolve() == source.path.resolve():
        raise click.ClickException("the output would replace the model itself; name another file with --output")
    matrix = None
    if calibration is not None:
        with Bar("reading the calibration text") as bar:
            matrix = ensure_imatrix(source.path, calibration, cache_folder(), bar)
    with Bar(kind) as bar:
        made = read_model(make_quant(source.path, kind, target, bar, hybrid=hybrid, imatrix=matrix, replace=force))
    facts = {"path": str(made.path), "quantization": made.recipe, "bytes": made.size}
    facts |= {"bits_per_weight": round(made.bits_per_weight, 3), "calibrated": matrix is not None}
    if as_json:
        say_json(facts)
        return
    how = "with an importance matrix" if matrix else "without an importance matrix"
    click.echo(f"{made.path}: {made.recipe}, {size(made.size)}, {made.bits_per_weight:.2f} bits per weight, {how}")


def _method(name: str) -> str:
    """A quantization as the folder's side names it: ``auto-round`` is ``autoround``; others unchanged but for case."""
    plain = name.lower()
    return "autoround" if plain in {"auto-round", "auto_round"} else plain


def _folder(
    source: Path, method: str, output: Path | None, calibration: Path | None, *, force: bool, as_json: bool
) -> None:
    """A folder of safetensors in another quantization."""
    from backends.transformers_engine.quantize import quantize_folder

    target = output or source.with_name(f"{source.name}-{method}")
    with Bar(method) as bar:
        made = quantize_folder(source, method, target, text=calibration, force=force, progress=bar)
    if as_json:
        say_json({"path": str(made.path), "quantization": method, "bytes": made.bytes})
        return
    click.echo(f"{made.path}: {method}, {size(made.bytes)}")


def _beside(source: Path, recipe: str, hybrid: bool) -> Path:
    """``Model-F16.gguf`` becomes ``Model-Q6_K.gguf``."""
    stem = re.sub(r"(-\d{5}-of-\d{5})?$", "", source.stem)
    stem = re.sub(r"[-._](bf16|fp?16|f32)$", "", stem, flags=re.IGNORECASE)
    return source.with_name(f"{stem}-{recipe}{'-hybrid' if hybrid else ''}.gguf")
