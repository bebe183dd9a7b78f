"""``fovea models``: look at model files, keep a list of them, make the tiers of a ladder, quantize, fetch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.commands.model_tools import (
    Bar,
    cache_folder,
    data_folder,
    load_settings,
    plainly,
    pocket_file,
    resolve,
    say_json,
    size,
    table,
)
from tui.commands.models_pull import pull, show_catalogue
from tui.commands.models_quantize import quantize

if TYPE_CHECKING:
    from backends.models.gguf_file import ModelFile


@click.group("models")
def models() -> None:
    """Look at model files, make their tiers, fetch them."""


models.add_command(pull)
models.add_command(show_catalogue)
models.add_command(quantize)


# list, add, remove ---------------------------------------------------------------------------------------------------


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def list_models(as_json: bool) -> None:
    """Show the models on the list and which of their tiers are made."""
    from backends.models.collection import Collection

    known = dict(Collection(data_folder()).paths())
    built_in = pocket_file()
    if built_in is not None:
        known = {"pocket": built_in, **known}
    current = load_settings().model
    rows = [_row(name, path, current) for name, path in known.items()]
    if as_json:
        say_json({"models": rows, "current": current})
        return
    if not rows:
        click.echo("No models yet. `fovea models add FILE` or `fovea models pull NAME` puts one on the list.")
        return
    cells = [["", "name", "tier", "size", "context", "made tiers", "path"]]
    for row in rows:
        mark = "*" if row["current"] else ""
        made = row["problem"] or " ".join(row["made"]) or "-"
        figures = [row["tier"], size(row["bytes"]), f"{row['context']:,}"] if not row["problem"] else ["-", "-", "-"]
        cells.append([mark, row["name"], *figures, made, _plain(row["path"])])
    click.echo(table(cells, right=frozenset({3, 4})))


def _row(name: str, path: Path, current: str) -> dict[str, Any]:
    from backends.errors import ModelFileError
    from backends.models.gguf_file import read_model

    row: dict[str, Any] = {"name": name, "path": str(path), "current": current in (name, str(path)), "problem": ""}
    try:
        model = read_model(path)
    except ModelFileError as error:
        return row | {"problem": str(error), "tier": "", "bytes": 0, "context": 0, "made": []}
    return row | {"tier": model.tier, "bytes": model.size, "context": model.context, "made": _made(model)}


def _made(model: ModelFile) -> list[str]:
    """Names of the tier files in the cache that belong to a model."""
    from backends.models.tiers import tier_path

    folder = tier_path(model, "8-bit", cache_folder()).parent
    return sorted(path.stem for path in folder.glob("*.gguf")) if folder.is_dir() else []


@models.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="What to call it (otherwise made from the file name).")
@click.option("--use", is_flag=True, help="Also make it the model of the settings.")
@plainly
def add(file: Path, name: str, use: bool) -> None:
    """Check FILE and put it on the list of models."""
    from agent import paths, settings_file
    from backends.models.collection import Collection

    name, model = Collection(data_folder()).add(file, name)
    click.echo(f"{name}: {model.architecture}, {model.tier}, {size(model.size)}")
    if use:
        settings_file.save(paths.find().settings, {"model": str(model.path.resolve())})
        click.echo("It is the model of the settings now.")


@models.command("remove")
@click.argument("name")
@plainly
def remove(name: str) -> None:
    """Take NAME off the list; the file stays where it is."""
    from backends.models.collection import Collection

    Collection(data_folder()).remove(name)
    click.echo(f"{name} is off the list; its file was left alone.")


# inspect -------------------------------------------------------------------------------------------------------------


@models.command("inspect")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--tensors", is_flag=True, help="Also list every tensor.")
@click.option("--checksum", is_flag=True, help="Also compute the SHA-256 of the file (remembered).")
@plainly
def inspect(model: str, as_json: bool, tensors: bool, checksum: bool) -> None:
    """Show what a model file (or a name from the list) holds."""
    from backends.models.gguf_file import read_model

    found = read_model(resolve(model))
    facts = _facts(found)
    if checksum:
        facts["sha256"] = _checksums(found)
    if as_json:
        if tensors:
            facts["tensor_list"] = [
                {"name": t.name, "shape": list(t.shape), "type": t.kind.name, "bytes": t.bytes} for t in found.tensors
            ]
        say_json(facts)
        return
    _show_facts(found, facts)
    if tensors:
        rows = [["tensor", "type", "shape", "size"]]
        rows += [[_plain(t.name), t.kind.name, "×".join(map(str, t.shape)), size(t.bytes)] for t in found.tensors]
        click.echo("\n" + table(rows, right=frozenset({3})))


def _facts(model: ModelFile) -> dict[str, Any]:
    from backends.models.identity import content_key

    return {
        "path": str(model.path),
        "parts": [str(part) for part in model.parts],
        "name": model.name,
        "architecture": model.architecture,
        "tier": model.tier,
        "quantization": model.recipe,
        "bytes": model.size,
        "parameters": model.parameters,
        "bits_per_weight": round(model.bits_per_weight, 3),
        "context": model.context,
        "layers": model.layers,
        "embedding": model.embedding,
        "heads": model.heads,
        "kv_heads": list(model.kv_heads),
        "head_k": model.head_k,
        "head_v": model.head_v,
        "vocabulary": model.vocabulary,
        "experts": model.experts,
        "experts_used": model.experts_used,
        "sliding_window": model.sliding_window,
        "recurrent": model.recurrent,
        "chat_template": bool(model.template),
        "types": {name: {"tensors": count, "bytes": bytes_} for name, (count, bytes_) in model.types().items()},
        "key": content_key(model),
        "made_tiers": _made(model),
    }


def _checksums(model: ModelFile) -> dict[str, str]:
    from backends.models.identity import sha256

    sums = {}
    for part in model.parts:
        with Bar(f"checksum of {_plain(part.name)}") as bar:
            sums[part.name] = sha256(part, cache_folder() / "checksums.json", bar)
    return sums


def _show_facts(model: ModelFile, facts: dict[str, Any]) -> None:
    kv = sorted(set(model.kv_heads))
    rows = [
        ["file", _plain(str(model.path)) + (f" and {len(model.parts) - 1} more" if len(model.parts) > 1 else "")],
        ["name", _plain(model.name)],
        ["tier", f"{model.tier} ({model.recipe or 'not said'}, {model.bits_per_weight:.2f} bits per weight)"],
        ["size", f"{size(model.size)}, {model.parameters / 1e6:,.1f} million weights"],
        ["architecture", f"{model.architecture}, {model.layers} layers, width {model.embedding}"],
        ["attention", f"{model.heads} heads of {model.head_k}, key/value heads {', '.join(map(str, kv))}"],
        ["context", f"{model.context:,} tokens"],
        ["vocabulary", f"{model.vocabulary:,} tokens"],
        ["chat template", "yes" if model.template else "none: ChatML is used"],
    ]
    if model.experts:
        rows.append(["experts", f"{model.experts}, {model.experts_used} at work for each token"])
    if model.sliding_window:
        rows.append(["window", f"some layers see only the last {model.sliding_window:,} tokens"])
    if model.recurrent:
        rows.append(["recurrent", "yes: an edited conversation is read again from its start"])
    for name, (count, bytes_) in model.types().items():
        rows.append([f"  {name}", f"{count} tensors, {size(bytes_)}"])
    rows.append(["made tiers", " ".join(facts["made_tiers"]) or "none yet"])
    rows.append(["key", facts["key"]])
    for name, total in facts.get("sha256", {}).items():
        rows.append(["SHA-256", f"{total}  {_plain(name)}"])
    click.echo(table(rows))


def _plain(text: str) -> str:
    from tui.app.safe import one_line

    return one_line(text)


# tiers ---------------------------------------------------------------------------------------------------------------


@models.command("tiers")
@click.argument("model")
@click.option("--hybrid", is_flag=True, help="Leave token embeddings and output head at 16 bits.")
@click.option("--tier", "names", multiple=True, help="Only this tier (4-bit, 8-bit, q6_k …); may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def tiers(model: str, hybrid: bool, names: tuple[str, ...], as_json: bool) -> None:
    """Make the missing 4-bit and 8-bit tiers of a 16-bit MODEL (a GGUF file or a name from the list)."""
    from backends.models.gguf_file import read_model
    from backends.models.tiers import ensure_tier

    path = resolve(model)
    if not names:
        names = ("4-bit", "8-bit") if read_model(path).tier == "8-bit" else ("4-bit", "8-bit", "16-bit")
    rows: list[dict[str, Any]] = []
    for name in names:
        keep = hybrid and name != "16-bit"
        with Bar(f"{name}{' hybrid' if keep else ''}") as bar:
            made = read_model(ensure_tier(path, name, cache_folder(), bar, hybrid=keep))
        rows.append({"tier": name, "path": str(made.path), "quantization": made.recipe, "bytes": made.size})
    if as_json:
        say_json({"model": str(path), "tiers": rows})
        return
    cells = [["tier", "as", "size", "file"]]
    cells += [[row["tier"], row["quantization"], size(row["bytes"]), _plain(row["path"])] for row in rows]
    click.echo(table(cells, right=frozenset({2})))
