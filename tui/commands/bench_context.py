"""``fovea bench context``: what ctx and batch cost on this machine: speed, time to the first token, memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tui.commands.model_tools import cache_folder, load_settings, plainly, resolve, size, table


def _numbers(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, each at least 1."""
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 512,1024") from None
    if min(found) < 1:
        raise click.BadParameter("every number must be at least 1")
    return found


@click.command("context")
@click.option("--model", default="", help="A GGUF file or a name from the list; otherwise the model of the settings.")
@click.option("--tier", default="4-bit", show_default=True, help="The tier to measure.")
@click.option("--ctx", "ctxs", callback=_numbers, default="512,1024,2048", show_default=True, help="Contexts to try.")
@click.option("--batch-size", "batches", callback=_numbers, default="32,128,512", show_default=True, help="Batches.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("context"), show_default=True, help="File name stem."
)
@click.option("--no-plot", is_flag=True, help="Write only the figures, no PNG (needs no matplotlib).")
@plainly
def context(model: str, tier: str, ctxs: tuple[int, ...], batches: tuple[int, ...], out: Path, no_plot: bool) -> None:
    """Fill contexts of several lengths with several batch sizes, and write the figures as JSON and PNG.

    Each point is a process of its own, so that its peak memory is its own.
    """
    from agent.paths import write_atomically
    from backends.models.gguf_file import read_model
    from backends.models.tiers import ensure_tier

    path = ensure_tier(resolve(model or load_settings().model), tier, cache_folder())
    found = read_model(path)
    too_long = [ctx for ctx in ctxs if found.context and ctx > found.context]
    if too_long:
        click.echo(f"left out: ctx {too_long}, the model was trained for {found.context}", err=True)
    usable = [ctx for ctx in ctxs if ctx not in too_long]
    if not usable:
        raise click.ClickException(f"no ctx is left: the model was trained for {found.context} tokens")
    points = [_point(path, ctx, batch) for ctx in usable for batch in batches]
    report = {"model": path.parent.name, "tier": tier, "bytes": found.size, "points": points}
    target = out.with_suffix(".json").absolute()
    write_atomically(target, json.dumps(report, indent=1) + "\n")
    _show(points)
    click.echo(f"\nWritten: {target}")
    if not no_plot:
        click.echo(f"Written: {plot(report, out.with_suffix('.png').absolute())}")


def _point(path: Path, ctx: int, batch: int) -> dict[str, Any]:
    """Measure one pair; the context is filled as far as writing leaves room."""
    from backends.models.gguf_file import read_model
    from backends.plan.estimate import Run, estimate
    from backends.plan.fit import INTERPRETER
    from backends.plan.hardware import detect
    from backends.plan.layout import layout_of
    from backends.plan.trial import measure

    run = Run(ctx=ctx, batch=batch, sequences=16, features=detect(path).features)
    predicted = INTERPRETER + estimate(layout_of(read_model(path)), run).peak
    found = measure([path], run, prompt=ctx)
    timing = found.timing[0]
    return {
        "ctx": ctx,
        "batch": batch,
        "prompt": timing.prompt,
        "read_tok_s": round(timing.prompt / timing.read_s, 1),
        "write_tok_s": round(timing.writes / timing.write_s, 1),
        "first_token_s": round(timing.read_s + timing.write_s / timing.writes, 4),
        "peak": found.peak,
        "predicted": predicted,
    }


def _show(points: list[dict[str, Any]]) -> None:
    rows = [["ctx", "batch", "prompt", "reads tok/s", "writes tok/s", "first token", "peak memory", "predicted"]]
    for point in points:
        speeds = [f"{point['read_tok_s']:.1f}", f"{point['write_tok_s']:.1f}", f"{point['first_token_s']:.2f} s"]
        memory = [size(point["peak"]), size(point["predicted"])]
        rows.append([f"{point['ctx']:,}", str(point["batch"]), f"{point['prompt']:,}", *speeds, *memory])
    click.echo(table(rows, right=frozenset(range(8))))


def plot(report: dict[str, Any], target: Path) -> Path:
    """Four small charts against ctx, one line for each batch size.

    Raises:
        click.ClickException: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise click.ClickException(
            "the chart needs matplotlib: pip install 'fovea-agent[bench]', or use --no-plot"
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    charts = (
        ("read_tok_s", "reading, tokens a second", 1.0),
        ("write_tok_s", "writing at the end of the context, tokens a second", 1.0),
        ("first_token_s", "time to the first token, s", 1.0),
        ("peak", "peak memory, MB (dotted: predicted)", 1e-6),
    )
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    points = report["points"]
    for axis, (key, title, scale) in zip(axes.flat, charts, strict=True):
        for batch in sorted({point["batch"] for point in points}):
            line = sorted((p["ctx"], p[key] * scale, p["predicted"] * scale) for p in points if p["batch"] == batch)
            drawn = axis.plot([p[0] for p in line], [p[1] for p in line], marker="o", label=f"batch {batch}")
            if key == "peak":
                axis.plot([p[0] for p in line], [p[2] for p in line], ":", color=drawn[0].get_color())
        axis.set(title=title, xlabel="ctx, tokens", ylim=(0, None))
        axis.legend()
    figure.suptitle(f"{report['model']}, {report['tier']}")
    figure.savefig(target, dpi=120)
    plt.close(figure)
    return target
