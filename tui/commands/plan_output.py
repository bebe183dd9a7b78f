"""How plans are shown: as a table with reasons, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.commands.model_tools import size, table

if TYPE_CHECKING:
    from pathlib import Path

    from backends.models.gguf_file import ModelFile
    from backends.plan.choose import Plan
    from backends.plan.hardware import Hardware


class Entry:
    """The plan of one model, with what was measured of it."""

    def __init__(self, name: str, path: Path, plan: Plan, *, model: ModelFile | None = None, problem: str = "") -> None:
        self.name = name
        self.path = path
        self.model = model
        """The file; None for a folder of safetensors."""
        self.plan = plan
        self.measured = 0
        self.problem = problem

    @property
    def predicted(self) -> int:
        """Peak bytes of the engine host with the chosen ladder."""
        from backends.plan.fit import INTERPRETER
        from backends.plan.folder import RUNTIME

        libraries = RUNTIME if self.model is None else 0
        return INTERPRETER + libraries + sum(tier.estimate.peak for tier in self.plan.tiers if tier.chosen)


def hardware_json(machine: Hardware) -> dict[str, Any]:
    """The machine as JSON."""
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


def show_hardware(machine: Hardware) -> str:
    """The machine as lines."""
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


def entry_json(entry: Entry) -> dict[str, Any]:
    """One plan as JSON."""
    plan = entry.plan
    return {
        "model": entry.name,
        "path": str(entry.path),
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


def show_entry(entry: Entry) -> str:
    """One plan as a table with its reasons."""
    plan = entry.plan
    rows = [["", "tier", "as", "weights", "cache", "work", "needs", "peak", "file"]]
    for tier in plan.tiers:
        need = tier.estimate
        state = ("there" if tier.path else "to be made") if entry.model else "a folder"
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
