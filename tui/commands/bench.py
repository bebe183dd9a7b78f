"""``fovea bench``: measure this machine, this model, and what looking closer gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.commands.bench_context import context
from tui.commands.model_tools import Bar, cache_folder, load_settings, plainly, resolve, say_json, size, table

if TYPE_CHECKING:
    from agent.calibrate.prompts import Prompt
    from agent.measure.figures import LadderFigures
    from agent.measure.frontier.report import Report
    from agent.measure.speed import Paired, SpeedReport
    from backends.types import LadderSpec

TIERS = "4-bit,8-bit,16-bit"
FRONTIER = "4-bit,q5_k_m,q6_k,8-bit,16-bit"


@click.group("bench")
def bench() -> None:
    """Measure speed, the ladder, and what looking closer gains."""


bench.add_command(context)


def build(model: str, names: Sequence[str], ctx: int, threads: int, *, parallel: int = 4) -> LadderSpec:
    """The ladder of a model, missing tiers made, threads chosen by measurement where they are not given."""
    from agent.measure.bare import best_threads
    from backends.models.tiers import ladder_for
    from backends.types import LadderSpec

    settings = load_settings()
    with Bar("tiers") as bar:
        tiers = ladder_for(resolve(model or settings.model), cache_folder(), names, bar)
    spec = LadderSpec(tiers, ctx=ctx, n_parallel=parallel, threads=threads or settings.engine.threads)
    return spec if spec.threads else best_threads(spec)


def names_of(tiers: str) -> list[str]:
    """Tier names of a comma-separated option."""
    return [name.strip() for name in tiers.split(",") if name.strip()]


def progress(line: str) -> None:
    """One line on standard error: standard output is the result."""
    click.echo(line, err=True)


@bench.command("speed")
@click.option("--model", default="", help="A GGUF file or a name from the list; otherwise the model of the settings.")
@click.option("--tiers", default=TIERS, show_default=True, help="Tiers to measure, low to high.")
@click.option("--threads", default=0, help="Compute threads (0: chosen by measurement).")
@click.option("--ctx", default=1024, show_default=True, help="Context in tokens.")
@click.option("--tokens", default=24, show_default=True, help="Tokens in a block.")
@click.option("--pairs", default=7, show_default=True, help="Neighbouring blocks of fovea and the bare loop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def speed(model: str, tiers: str, threads: int, ctx: int, tokens: int, pairs: int, as_json: bool) -> None:
    """Measure reading and writing of every tier, beside a bare llama.cpp loop on the same file."""
    from agent.measure.bare import open_bare
    from agent.measure.speed import Effort, measure_speed
    from backends.host import EngineHost

    spec = build(model, names_of(tiers), ctx, threads)
    engine = EngineHost()
    try:
        report = measure_speed(
            engine, spec, spec.tiers[-1].path.name, open_bare, Effort(tokens=tokens, pairs=pairs), progress
        )
    finally:
        engine.close()
    if as_json:
        say_json(asdict(report))
    else:
        show_speed(report)


def show_speed(report: SpeedReport) -> None:
    """The report as a table."""
    rows = [["tier", "size", "writes tok/s", "bare loop", "ratio", "reads tok/s", "bare loop", "ratio"]]
    rows[0] += ["4 texts ÷ 1", "bare loop"]
    for tier in report.tiers:
        four = [f"{tier.four.value:.2f}", f"{tier.bare_four.value:.2f}"]
        rows.append([tier.name, size(tier.bytes), *_paired(tier.decode), *_paired(tier.prefill), *four])
    click.echo(table(rows, right=frozenset(range(1, 10))))
    click.echo(f"\n{report.threads} threads. Ratios are medians over neighbouring blocks, with 95 % intervals.")


def _paired(pair: Paired) -> list[str]:
    ratio = pair.ratio
    return [f"{pair.fovea:.1f}", f"{pair.bare:.1f}", f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"]


@bench.command("ladder")
@click.option("--model", default="", help="A GGUF file or a name from the list; otherwise the model of the settings.")
@click.option("--tiers", default=TIERS, show_default=True, help="Tiers to measure, low to high.")
@click.option("--threads", default=0, help="Compute threads (0: chosen by measurement).")
@click.option("--tokens", default=1000, show_default=True, help="Length of the prompt for reading and the handover.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def ladder(model: str, tiers: str, threads: int, tokens: int, as_json: bool) -> None:
    """Measure every tier and the handover between them, and keep the figures for predictions."""
    from agent.density.calibration import file_key
    from agent.measure.figures import save
    from agent.measure.ladder import Effort, measure_ladder, open_with

    spec = build(model, names_of(tiers), ctx=max(1024, tokens * 4 // 3 + 64), threads=threads)
    key = file_key(spec.tiers[-1].path)
    figures = measure_ladder(spec, open_with, key, Effort(tokens=tokens), progress, _rss)
    kept = save(cache_folder(), figures)
    if as_json:
        say_json(asdict(figures))
        return
    show_figures(figures)
    click.echo(f"\nKept in {kept}")


def show_figures(figures: LadderFigures) -> None:
    """The figures as tables."""
    rows = [["tier", "size", "reads tok/s", "writes tok/s", *(f"{width} at once" for width in (4, 8, 16, 32))]]
    for name, tier in figures.tiers.items():
        wide = [f"×{tier.step_s(width) * tier.write_tok_s:.1f}" for width in (4, 8, 16, 32)]
        rows.append([name, size(tier.bytes), f"{tier.read_tok_s:.1f}", f"{tier.write_tok_s:.1f}", *wide])
    click.echo(table(rows, right=frozenset(range(1, 8))))
    for given in figures.handovers:
        reads = "reads the prompt" if figures.reads_high(given.low, given.high) else "does not read the prompt"
        click.echo(
            f"\n{given.low} → {given.high}, {given.tokens} tokens: handover {1000 * given.seconds:.0f} ms, first "
            f"{given.high} token after {given.first_token_s:.2f} s (reading it again: {given.prefill_s:.1f} s).\n"
            f"  KL to {given.high}: {given.high} on the given cache {given.kl_up:.2g}, {given.low} on {given.high}'s "
            f"{given.kl_down:.2g}, {given.low} alone {given.kl_low:.2g} nats. {given.high} {reads}."
        )


def _rss() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


@bench.command("frontier")
@click.option("--model", default="", help="A GGUF file or a name from the list; otherwise the model of the settings.")
@click.option("--tiers", default=FRONTIER, show_default=True, help="Tiers to compare, low to high.")
@click.option("--prompts", type=click.Path(path_type=Path), help="One a line, or JSON lines (as in bench/prompts).")
@click.option("--most", default=0, help="Held-out prompts at most (0: all of them).")
@click.option("--texts", type=click.Path(path_type=Path), help="Texts (file, folder, .jsonl) both tiers read besides.")
@click.option("--endless", is_flag=True, help="Forbid the end of a reply: every one has --tokens tokens.")
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="Take density from this file (of the same model) instead."
)
@click.option("--kinds", default="", help="Only these besides static: read-high, gated, speculative, turn, random …")
@click.option("--samples", default=3, show_default=True, help="Replies to each prompt for fitting.")
@click.option("--tokens", default=64, show_default=True, help="Longest reply.")
@click.option("--threads", default=0, help="Compute threads (0: chosen by measurement).")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Write a picture here.")
@plainly
def frontier(  # noqa: PLR0913, PLR0917  # one option each
    model: str,
    tiers: str,
    prompts: Path | None,
    most: int,
    texts: Path | None,
    endless: bool,
    calibration: Path | None,
    kinds: str,
    samples: int,
    tokens: int,
    threads: int,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Compare every way of using the tiers: fidelity to the highest, speed, share and memory, with intervals."""
    from agent.calibrate.texts import passages
    from agent.density.calibration import load
    from agent.measure.frontier.endless import endless as without_end
    from agent.measure.frontier.local import LocalEngine
    from agent.measure.frontier.plot import plot
    from agent.measure.frontier.report import as_json
    from agent.measure.frontier.run import Order
    from agent.measure.frontier.run import frontier as run
    from agent.measure.ladder import open_with
    from agent.paths import write_atomically

    asked = _prompts(prompts)
    spec = build(model, names_of(tiers), 2048, threads, parallel=1)
    read = passages(texts) if texts else []
    density = load(calibration) if calibration else None
    engine = LocalEngine(without_end(open_with) if endless else open_with, _rss)
    try:
        engine.load(spec)
        names = tuple(engine.status().loaded())
        name = spec.tiers[-1].path.name
        chosen = tuple(names_of(kinds))
        order = Order(
            name, names, threads=spec.threads, tokens=tokens, samples=max(samples, 1), prompts=most, kinds=chosen,
            calibration=density,
        )  # fmt: skip
        report, _ = run(engine, asked, order, progress, read)
    finally:
        engine.close()
    if json_file is not None:
        write_atomically(json_file, as_json(report))
    if plot_file is not None:
        plot(report, plot_file)
    show_frontier(report)


def _prompts(path: Path | None) -> list[Prompt]:
    """The prompts of a file, or the person's own past messages."""
    from agent.app import Fovea
    from agent.calibrate.prompts import ENOUGH, from_conversations, from_file
    from agent.errors import AgentError

    if path is not None:
        return from_file(path)
    with Fovea.open(load_settings()) as fovea:
        found = from_conversations(fovea.tree)
    if len(found) < ENOUGH:
        raise AgentError(
            f"There are only {len(found)} messages in past conversations: give --prompts FILE (one prompt a line; the "
            "source tree has bench/prompts/prompts.jsonl)"
        )
    return found


def show_frontier(report: Report) -> None:
    """The verdict, then the tables."""
    from agent.measure.frontier.report import router_rows, table_rows

    click.echo(report.verdict)
    click.echo(
        f"\n{report.model}, {report.prompts} held-out prompts, {report.tokens} tokens at {report.top}, "
        f"{report.threads} threads, {report.machine}\n"
    )
    rows = table_rows(report)
    click.echo(table(rows, right=frozenset(range(1, len(rows[0])))))
    if report.note:
        click.echo(f"\n{report.note}")
    for reading in report.routers:
        rows = router_rows(reading)
        click.echo(
            f"\nRouters of tokens, {report.low} → {report.top}, {reading.name}: {reading.forks} forks in "
            f"{reading.tokens} tokens of {reading.units}; at the nearest ties {reading.at_ties:.0%} are forks"
        )
        click.echo(table(rows, right=frozenset(range(1, len(rows[0])))))
    for found in report.differences:
        why = "the width of steps alone turns it" if found.explained else "NOT explained by the width of steps"
        click.echo(
            f"\n{found.policy}, prompt {found.prompt + 1}: other than {report.top} after {found.at} tokens. Its own "
            f"logit gap there is {found.margin:.4f}, in steps as wide {found.margin_wide:.4f}: {why}."
        )
    flips = report.flips
    if flips.questions:
        click.echo(
            f"\nKnown answers: of {flips.questions}, {flips.lost} right at {report.top} only, {flips.gained} right at "
            f"{report.low} only."
        )
