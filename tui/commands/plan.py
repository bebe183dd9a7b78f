"""``fovea plan``: what this machine has, what a model's tiers take, which ladder runs well here, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.commands.model_tools import (
    Bar,
    cache_folder,
    load_settings,
    plainly,
    resolve,
    say_json,
)
from tui.commands.plan_output import Entry, entry_json, hardware_json, show_entry, show_hardware

if TYPE_CHECKING:
    from backends.models.gguf_file import ModelFile
    from backends.plan.fit import Wishes
    from backends.plan.hardware import Hardware

_CACHE_TYPES = ["f16", "q8_0", "q4_0", "f32"]


@click.command("plan")
@click.argument("models", nargs=-1)
@click.option("--ctx", "--ctx-size", type=click.IntRange(0, 4_194_304), default=0, help="Context in tokens; 0: choose.")
@click.option("--batch-size", "--batch_size", type=click.IntRange(0, 65_536), default=0, help="Tokens read at once.")
@click.option("--n-parallel", type=click.IntRange(0, 16), default=0, help="Continuations written at once.")
@click.option("--cache-type", type=click.Choice(_CACHE_TYPES), default="f16", help="Number format of the cache.")
@click.option("--embedder/--no-embedder", default=None, help="Whether the knowledge base runs beside the model.")
@click.option("--write", is_flag=True, help="Write the plan of the (one) model into the settings file.")
@click.option("--try", "trial", is_flag=True, help="Load the ladder once and put the measured memory beside the plan.")
@click.option("--levels", is_flag=True, help="Write the guide from laptop to cluster to hardware_levels.md instead.")
@click.option("--output", type=click.Path(path_type=Path), help="With --levels: another file, - for standard output.")
@click.option("--serve", type=click.Choice(["vllm"]), help="Print command lines that serve MODELS with this server.")
@click.option("--cards", default="", help="With --serve: graphics cards as COUNTxGB, e.g. 4x24.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def plan(models: tuple[str, ...], **options: Any) -> None:
    """Say which tiers of MODELS fit where on this machine, and with which settings.

    A model is a GGUF file, a folder of safetensors, a name from `fovea models list`, or `pocket`; none means the
    model of the settings. Estimates are never used to refuse a load: they are shown, and the load decides.
    """
    if options["levels"]:
        _write_levels(options["output"])
        return
    if options["serve"]:
        from tui.commands.plan_serve import show_serving

        show_serving(models, options["cards"], options["ctx"])
        return
    from backends.plan.fit import Wishes
    from backends.plan.hardware import detect

    names = models or (load_settings().model,)
    if options["write"] and len(names) != 1:
        raise click.UsageError("--write takes exactly one model.")
    machine = detect(cache_folder() / "tiers")
    wishes = Wishes(
        ctx=options["ctx"],
        batch=options["batch_size"],
        n_parallel=options["n_parallel"],
        cache_type=options["cache_type"].upper(),
        embedder=options["embedder"],
    )
    entries = [_entry(name, machine, wishes, trial=options["trial"]) for name in names]
    if options["as_json"]:
        say_json({"hardware": hardware_json(machine), "plans": [entry_json(entry) for entry in entries]})
    else:
        click.echo(show_hardware(machine))
        for entry in entries:
            click.echo("\n" + show_entry(entry))
    if options["write"]:
        _write(entries[0], quiet=options["as_json"])


def _write_levels(output: Path | None) -> None:
    from agent.paths import write_where_told
    from backends.plan.levels import guide

    if output == Path("-"):
        click.echo(guide(), nl=False)
        return
    target = (output or Path("hardware_levels.md")).absolute()
    write_where_told(target, guide())
    click.echo(f"Written: {target}")


# One model -----------------------------------------------------------------------------------------------------------


def _entry(name: str, machine: Hardware, wishes: Wishes, *, trial: bool) -> Entry:
    from backends.models.gguf_file import read_model
    from backends.plan.choose import choose
    from backends.plan.ladder import tiers_of
    from backends.plan.trial import recall

    path = resolve(name)
    if path.is_dir():
        return _folder_entry(name, path, machine, wishes, trial=trial)
    model = read_model(path)
    plan = choose(tiers_of(model, cache_folder()), machine, wishes)
    entry = Entry(name, model.path, plan, model=model)
    if trial:
        return _try(entry, machine, wishes)
    known = recall(_memory()).get(_key(model, entry), {})
    entry.measured = int(known.get("measured", 0))
    return entry


def _folder_entry(name: str, folder: Path, machine: Hardware, wishes: Wishes, *, trial: bool) -> Entry:
    """The plan of a folder of safetensors."""
    from backends.plan.choose import choose
    from backends.plan.folder import RUNTIME, lacking, tiers_of_folder

    if trial:
        raise click.ClickException("--try loads GGUF files only; `fovea chat --model FOLDER` tries a folder")
    plan = choose(tiers_of_folder(folder), machine, replace(wishes, runtime=RUNTIME))
    lacks = lacking(folder, card=any(gpu.kind == "nvidia" for gpu in machine.gpus))
    if lacks:
        plan = replace(plan, reasons=(*plan.reasons, f"it cannot be loaded yet: {lacks}"))
    return Entry(name, folder, plan)


def _memory() -> Path:
    return cache_folder() / "measured.json"


def _key(model: ModelFile, entry: Entry) -> str:
    from backends.models.identity import content_key
    from backends.plan.trial import key_of

    return key_of([content_key(model), *entry.plan.chosen], entry.plan.run)


def _try(entry: Entry, machine: Hardware, wishes: Wishes) -> Entry:
    """Load the chosen ladder, then the next smaller one for as long as loading fails."""
    from backends.errors import LoadError
    from backends.plan.choose import choose
    from backends.plan.ladder import tiers_of
    from backends.plan.trial import measure, remember

    model = entry.model
    assert model is not None, "folders are not tried"
    while True:
        paths = _made(entry)
        try:
            found = measure(paths, entry.plan.run, parallel=entry.plan.n_parallel, n_gpu_layers=entry.plan.n_gpu_layers)
        except LoadError as error:
            entry.problem = f"{' + '.join(entry.plan.chosen)}: {error}"
            if not entry.plan.smaller:
                return entry
            tiers = tiers_of(model, cache_folder())
            smaller = choose({name: tiers[name] for name in entry.plan.smaller}, machine, wishes)
            entry = Entry(entry.name, entry.path, smaller, model=model, problem=entry.problem)
            continue
        entry.measured = found.peak
        remember(_memory(), _key(model, entry), entry.predicted, found.peak)
        return entry


def _made(entry: Entry) -> list[Path]:
    """The files of the chosen ladder, made now where they are missing."""
    from backends.models.tiers import ensure_tier

    if entry.model is None:
        return [entry.path] * len(entry.plan.chosen)
    paths = []
    for name in entry.plan.chosen:
        with Bar(f"making {name}") as bar:
            paths.append(ensure_tier(entry.path, name, cache_folder(), bar))
    return paths


def _write(entry: Entry, *, quiet: bool) -> None:
    """Put the plan into the settings; a tier that is left out means the files of the others are named."""
    from agent import paths, settings_file

    plan = entry.plan
    changes: dict[str, Any] = {
        "model": "pocket" if entry.name == "pocket" else str(entry.path.resolve()),
        "tier": "",
        "high": "",
        "engine.ctx": plan.run.ctx,
        "engine.batch_size": plan.run.batch,
        "engine.n_parallel": plan.n_parallel,
        "engine.n_gpu_layers": plan.n_gpu_layers,
        "engine.tensor_split": list(plan.tensor_split),
        "tiers": {},
    }
    if len(plan.chosen) < len(plan.tiers):
        changes["tiers"] = {name: str(path) for name, path in zip(plan.chosen, _made(entry), strict=True)}
    target = paths.find().settings
    settings_file.save(target, changes)
    if not quiet:
        click.echo(f"\nWritten into {target}")
