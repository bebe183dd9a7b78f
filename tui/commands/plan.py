"""``fovea plan``: what this machine has, what a model's tiers take, which ladder runs well here, and why."""

from __future__ import annotations

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
    size,
    table,
)

if TYPE_CHECKING:
    from backends.models.gguf_file import ModelFile
    from backends.plan.choose import Plan
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def plan(models: tuple[str, ...], **options: Any) -> None:
    """Say which tiers of MODELS fit where on this machine, and with which settings.

    A model is a GGUF file, a name from `fovea models list`, or `pocket`; none means the model of the settings.
    Estimates are never used to refuse a load: they are shown, and the load decides.
    """
    if options["levels"]:
        _write_levels(options["output"])
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
        say_json({"hardware": _hardware(machine), "plans": [_as_json(entry) for entry in entries]})
    else:
        click.echo(_show_hardware(machine))
        for entry in entries:
            click.echo("\n" + _show(entry))
    if options["write"]:
        _write(entries[0], quiet=options["as_json"])


def _write_levels(output: Path | None) -> None:
    from agent.paths import write_atomically
    from backends.plan.levels import guide

    if output == Path("-"):
        click.echo(guide(), nl=False)
        return
    target = (output or Path("hardware_levels.md")).absolute()
    write_atomically(target, guide())
    click.echo(f"Written: {target}")


# One model -----------------------------------------------------------------------------------------------------------


class Entry:
    """The plan of one model, with what was measured of it."""

    def __init__(self, name: str, model: ModelFile, plan: Plan, measured: int, problem: str = "") -> None:
        self.name = name
        self.model = model
        self.plan = plan
        self.measured = measured
        self.problem = problem

    @property
    def predicted(self) -> int:
        """Peak bytes of the engine host with the chosen ladder."""
        from backends.plan.fit import INTERPRETER

        return INTERPRETER + sum(tier.estimate.peak for tier in self.plan.tiers if tier.chosen)


def _entry(name: str, machine: Hardware, wishes: Wishes, *, trial: bool) -> Entry:
    from backends.models.gguf_file import read_model
    from backends.plan.choose import choose
    from backends.plan.ladder import tiers_of
    from backends.plan.trial import recall

    model = read_model(resolve(name))
    plan = choose(tiers_of(model, cache_folder()), machine, wishes)
    entry = Entry(name, model, plan, 0)
    if trial:
        return _try(entry, machine, wishes)
    known = recall(_memory()).get(_key(entry), {})
    entry.measured = int(known.get("measured", 0))
    return entry


def _memory() -> Path:
    return cache_folder() / "measured.json"


def _key(entry: Entry) -> str:
    from backends.models.identity import content_key
    from backends.plan.trial import key_of

    return key_of([content_key(entry.model), *entry.plan.chosen], entry.plan.run)


def _try(entry: Entry, machine: Hardware, wishes: Wishes) -> Entry:
    """Load the chosen ladder, then the next smaller one for as long as loading fails."""
    from backends.errors import LoadError
    from backends.plan.choose import choose
    from backends.plan.ladder import tiers_of
    from backends.plan.trial import measure, remember

    while True:
        paths = _made(entry)
        try:
            found = measure(paths, entry.plan.run, parallel=entry.plan.n_parallel, n_gpu_layers=entry.plan.n_gpu_layers)
        except LoadError as error:
            entry.problem = f"{' + '.join(entry.plan.chosen)}: {error}"
            if not entry.plan.smaller:
                return entry
            tiers = tiers_of(entry.model, cache_folder())
            smaller = choose({name: tiers[name] for name in entry.plan.smaller}, machine, wishes)
            entry = Entry(entry.name, entry.model, smaller, 0, entry.problem)
            continue
        entry.measured = found.peak
        remember(_memory(), _key(entry), entry.predicted, found.peak)
        return entry


def _made(entry: Entry) -> list[Path]:
    """The files of the chosen ladder, made now where they are missing."""
    from backends.models.tiers import ensure_tier

    paths = []
    for name in entry.plan.chosen:
        with Bar(f"making {name}") as bar:
            paths.append(ensure_tier(entry.model.path, name, cache_folder(), bar))
    return paths


def _write(entry: Entry, *, quiet: bool) -> None:
    """Put the plan into the settings; a tier that is left out means the files of the others are named."""
    from agent import paths, settings_file

    plan = entry.plan
    changes: dict[str, Any] = {
        "model": "pocket" if entry.name == "pocket" else str(entry.model.path.resolve()),
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


# Showing -------------------------------------------------------------------------------------------------------------


def _hardware(machine: Hardware) -> dict[str, Any]:
    return {
        "processor": machine.processor,
        "cores": machine.cores,
        "features": sorted(machine.features),
        "memory": machine.memory,
        "available": machine.available,
        "container_limit": machine.container_limit,
        "swap": machine.swap,
        "disk_free": machine.disk_free,
        "gpus": [{"name": g.name, "kind": g.kind, "total": g.total, "free": g.free} for g in machine.gpus],
        "gpu_backends": sorted(machine.gpu_backends),
    }


def _show_hardware(machine: Hardware) -> str:
    limit = " (the limit of this container)" if machine.container_limit else ""
    rows = [
        [
            "processor",
            f"{_plain(machine.processor)}, {machine.cores} cores {' '.join(sorted(machine.features))}".strip(),
        ],
        ["memory", f"{size(machine.memory)}{limit}, {size(machine.available)} available, swap {size(machine.swap)}"],
        ["disk", f"{size(machine.disk_free)} free where tiers are made"],
    ]
    for gpu in machine.gpus:
        rows.append(["graphics", f"{_plain(gpu.name)}, {size(gpu.total)}, {size(gpu.free)} free"])
    if not machine.gpus:
        rows.append(["graphics", "none found"])
    return table(rows)


def _as_json(entry: Entry) -> dict[str, Any]:
    plan = entry.plan
    return {
        "model": entry.name,
        "path": str(entry.model.path),
        "chosen": list(plan.chosen),
        "speaks": plan.speaks,
        "high": plan.high,
        "ctx": plan.run.ctx,
        "batch_size": plan.run.batch,
        "n_parallel": plan.n_parallel,
        "n_gpu_layers": plan.n_gpu_layers,
        "tensor_split": list(plan.tensor_split),
        "needed": plan.needed,
        "budget": plan.budget,
        "base": plan.base,
        "card_needed": plan.card_needed,
        "fits": plan.fits,
        "predicted_peak": entry.predicted,
        "measured_peak": entry.measured or None,
        "problem": entry.problem,
        "reasons": list(plan.reasons),
        "tiers": [
            {
                "tier": tier.name,
                "quantization": tier.recipe,
                "path": str(tier.path) if tier.path else None,
                "chosen": tier.chosen,
                "fits_alone": tier.fits_alone,
                "weights": tier.estimate.weights,
                "copy": tier.estimate.copy,
                "cache": tier.estimate.cache,
                "work": tier.estimate.work,
                "tables": tier.estimate.tables,
                "reserved": tier.estimate.reserved,
                "least": tier.estimate.least,
                "peak": tier.estimate.peak,
            }
            for tier in plan.tiers
        ],
    }


def _show(entry: Entry) -> str:
    plan = entry.plan
    rows = [["", "tier", "as", "weights", "cache", "work", "needs", "peak", "file"]]
    for tier in plan.tiers:
        need = tier.estimate
        state = "there" if tier.path else "to be made"
        figures = [size(n) for n in (need.weights, need.cache, need.work + need.tables, need.least, need.peak)]
        rows.append(["*" if tier.chosen else "", tier.name, tier.recipe, *figures, state])
    verdict = "fits" if plan.fits else "is expected not to fit"
    settings = f"ctx {plan.run.ctx:,}, batch {plan.run.batch}, {plan.n_parallel} continuations"
    if plan.n_gpu_layers:
        settings += f", {'all' if plan.n_gpu_layers < 0 else plan.n_gpu_layers} layers on the graphics card"
    if plan.tensor_split:
        settings += f", tensor_split {'/'.join(map(str, plan.tensor_split))}"
    memory = f"{size(plan.needed)} with fovea itself ({size(plan.base)}), {size(max(plan.budget, 0))} may be used"
    lines = [
        f"{_plain(entry.name)}: {' + '.join(plan.chosen)} {verdict}",
        table(rows),
        f"settings: {settings}",
        f"memory: {memory}",
    ]
    if plan.card_needed:
        lines.append(f"graphics memory: {size(plan.card_needed)}")
    if entry.measured:
        off = entry.measured / entry.predicted - 1
        lines.append(f"measured: peak {size(entry.measured)} where {size(entry.predicted)} were predicted ({off:+.1%})")
    if entry.problem:
        lines.append(f"failed: {entry.problem}")
    return "\n".join([*lines, *(f"- {reason}" for reason in plan.reasons)])


def _plain(text: str) -> str:
    from tui.app.safe import one_line

    return one_line(text)
