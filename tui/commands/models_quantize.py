"""``fovea models quantize``: one GGUF file in another quantization, with an importance matrix where a text is given."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tui.commands.model_tools import Bar, cache_folder, plainly, resolve, say_json, size


@click.command("quantize")
@click.argument("model")
@click.option("--to", "recipe", required=True, help="q4_k_m, q8_0, q6_k, q5_k_m, q3_k_m, q2_k, iq4_xs, iq2_xs …")
@click.option("--hybrid", is_flag=True, help="Leave token embeddings and output head at 16 bits.")
@click.option("--calibration", type=click.Path(path_type=Path), help="A text: weigh rounding errors by what it uses.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write (otherwise beside MODEL).")
@click.option("--force", is_flag=True, help="Replace the output file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def quantize(
    model: str, recipe: str, hybrid: bool, calibration: Path | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Write MODEL (a 16-bit GGUF file or a name from the list) in another quantization.

    A folder of safetensors can be written as int8, nf4 or fp4 (bitsandbytes).

    The tiers of a ladder are made with `fovea models tiers`; this is for every other format, and for choosing where
    the file goes. The smallest formats (iq2_xs and below) need --calibration.
    """
    from backends.models.gguf_file import read_model
    from backends.models.imatrix import ensure_imatrix
    from backends.models.tiers import make_quant, recipe_for

    path = resolve(model)
    if path.is_dir():
        _folder(path, recipe.lower(), output, force=force, as_json=as_json)
        return
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


def _folder(source: Path, method: str, output: Path | None, *, force: bool, as_json: bool) -> None:
    """A folder of safetensors in another quantization."""
    from backends.transformers_engine.quantize import quantize_folder

    made = quantize_folder(source, method, output or source.with_name(f"{source.name}-{method}"), force=force)
    if as_json:
        say_json({"path": str(made.path), "quantization": method, "bytes": made.bytes})
        return
    click.echo(f"{made.path}: {method}, {size(made.bytes)}")


def _beside(source: Path, recipe: str, hybrid: bool) -> Path:
    """``Model-F16.gguf`` becomes ``Model-Q6_K.gguf``."""
    stem = re.sub(r"(-\d{5}-of-\d{5})?$", "", source.stem)
    stem = re.sub(r"[-._](bf16|fp?16|f32)$", "", stem, flags=re.IGNORECASE)
    return source.with_name(f"{stem}-{recipe}{'-hybrid' if hybrid else ''}.gguf")
