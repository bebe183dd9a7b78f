"""``fovea calibrate``: learn where this model forks between two of its tiers, for a budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.commands.model_tools import Bar, load_settings, plainly, resolve, say_json, table

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.calibrate.prompts import Prompt
    from agent.density.calibration import Calibration, HeldOut
    from agent.settings import Settings

AT_LEAST = 96
"""Tokens of a reply: enough for forks to show, whatever the settings allow."""


class Percent(click.ParamType[float]):
    """``20%``, ``20`` or ``0.2``: a share."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share, 0..1."""
        if isinstance(value, float):
            return value
        from agent.settings import share

        try:
            part = share(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 < part < 1:
            self.fail(f"{value} is not between 0% and 100%", param, ctx)
        return part


@click.command("calibrate")
@click.argument("prompts", required=False, type=click.Path(path_type=Path))
@click.option("--budget", type=Percent(), default="20%", show_default=True, help="Share of tokens at the high tier.")
@click.option("--model", default="", help="A GGUF file or a name from the list; otherwise the model of the settings.")
@click.option("--high", default="", help="The tier a closer look uses; otherwise the one of the settings.")
@click.option("--tokens", default=AT_LEAST, show_default=True, help="Longest reply.")
@click.option("--from-picks", is_flag=True, help="Learn from the continuations you picked instead.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the file here (otherwise into the cache folder).")
@click.option("--apply", "apply_it", is_flag=True, help="Use it from now on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def calibrate(  # noqa: PLR0913, PLR0917  # one option each
    prompts: Path | None,
    budget: float,
    model: str,
    high: str,
    tokens: int,
    from_picks: bool,
    out: Path | None,
    apply_it: bool,
    as_json: bool,
) -> None:
    """Fit when fovea looks closer, from PROMPTS (one a line, or JSON lines) or from your past conversations.

    Nothing is changed without --apply, and nothing leaves this machine.
    """
    from agent.app import Fovea
    from agent.density import calibration

    settings = load_settings()
    if model:
        settings = settings.with_values({"model": str(resolve(model)), "tiers": {}})
    if high:
        settings = settings.with_values({"high": high})
    with Fovea.open(settings) as fovea:
        made = _from_picks(fovea, budget) if from_picks else _from_replies(fovea, prompts, budget, tokens)
        path = out or calibration.place(fovea.folders.cache, list(made.files.values()))
        before = _current(settings)
        calibration.save(made, path)
        if apply_it:
            from agent import settings_file

            settings_file.save(fovea.folders.settings, {"policy.calibration": str(path.resolve())})
    if as_json:
        say_json({"file": str(path), "applied": apply_it, "calibration": calibration.as_dict(made)})
        return
    show(made, before, path, apply_it)


def _from_replies(fovea: Fovea, prompts: Path | None, budget: float, tokens: int) -> Calibration:
    from agent.calibrate.run import Order, require_enough
    from agent.calibrate.run import calibrate as run
    from agent.desk import sampling_of
    from agent.ladder import model_name

    asked = _prompts(fovea, prompts)
    require_enough(asked)
    low, high = _pair(fovea)
    source = prompts.name if prompts else "past conversations"
    order = Order(
        model_name(fovea.settings),
        low,
        high,
        budget=budget,
        tokens=tokens,
        # As the chat writes: greedy replies are less dense than drawn ones, and a budget set by them is overspent.
        sampling=sampling_of(fovea.settings, max(fovea.settings.sampling.seed, 0)),
        source=f"{len(asked)} prompts, {source}",
    )
    bars: dict[str, Bar] = {}

    def progress(what: str, share: float) -> None:
        bars.setdefault(what, Bar(what))(share)
        if share >= 1:
            bars[what].close()

    return run(fovea.engine, asked, order, progress)


def _prompts(fovea: Fovea, prompts: Path | None) -> list[Prompt]:
    from agent.calibrate.prompts import from_conversations, from_file

    if prompts is not None:
        return from_file(prompts, fovea.settings.system_prompt)
    return from_conversations(fovea.tree, fovea.settings.system_prompt)


def _pair(fovea: Fovea) -> tuple[str, str]:
    """The tier that speaks and the one a closer look uses."""
    from agent import roles
    from agent.errors import AgentError

    ladder = fovea.ladder()
    low = roles.speaking(fovea.settings, ladder)
    high, wanted = roles.judging(fovea.settings, ladder, low), fovea.settings.high
    if not high:
        raise AgentError(f"There is nothing above {low} to look closer with, so nothing to calibrate")
    if wanted and wanted != high:
        raise AgentError(f"{wanted} is not above {low}, or not loaded; a closer look would use {high}")
    return low, high


def _from_picks(fovea: Fovea, budget: float) -> Calibration:
    """The calibration in force (or the default rule) with what the picks say."""
    from agent.calibrate.picks import fit_picks
    from agent.calibrate.run import uncalibrated, with_picks
    from agent.ladder import model_name

    low, high = _pair(fovea)
    learned = fit_picks(fovea.tree.ledger.picks(), low, high)
    current = _current(fovea.settings)
    if current is None or current.mismatch(fovea.ladder(), low, high):
        current = uncalibrated(model_name(fovea.settings), fovea.ladder(), low, high, budget)
    note = (
        f"{learned.picks} picks between {low} and {high}, {learned.won} for {high}; "
        f"order told right in {learned.auroc.percent(0)} of cases (leave-one-out)"
    )
    return with_picks(current, learned.weights, note)


def _current(settings: Settings) -> Calibration | None:
    from agent.density.calibration import load
    from agent.errors import SettingsError

    if not settings.policy.calibration:
        return None
    try:
        return load(Path(settings.policy.calibration))
    except SettingsError as error:
        click.echo(str(error), err=True)
        return None


# Showing -------------------------------------------------------------------------------------------------------------


def show(made: Calibration, before: Calibration | None, path: Path, applied: bool) -> None:
    """What was learned and what it changes."""
    click.echo(f"{made.model}, {made.low} → {made.high}: {made.source}")
    if made.note:
        click.echo(made.note)
    _show_tried(made)
    held = made.held_out
    if held is not None:
        click.echo(
            f"\nHeld out: {held.prompts} prompts, {held.tokens} tokens, {held.forks} forks "
            f"({held.forks / max(held.tokens, 1):.1%}), AUROC {held.auroc:.3f}"
        )
        how = "spent" if held.ran else "spent (played)"
        rows = [["budget", "forks caught", "default rule", how]]
        for budget in sorted({*held.caught, *held.spent}, key=lambda name: float(name.rstrip("%"))):
            figures = [found.get(budget) for found in (held.caught, held.caught_default)]
            rows.append([budget, *(_interval(each) if each else "-" for each in figures), _spent(held, budget)])
        click.echo(table(rows, right=frozenset({0, 3})))
    old = "the default rule (margin alone)" if before is None else f"the calibration of {before.date}"
    click.echo(f"\nNow in force: {old}.\nWeights: {_weights(made.weights)}")
    click.echo(f"Threshold at {made.budget:.0%}: density {made.threshold(made.budget):.4f}")
    click.echo(f"Kept in {path}")
    click.echo("It is used from now on." if applied else "Nothing was changed; `--apply` uses it from now on.")


def _show_tried(made: Calibration) -> None:
    if not made.tried:
        return
    rows = [["signal beside the margin", "forks caught more", ""]]
    for tried in made.tried:
        verdict = "kept" if tried.kept else "left out"
        rows.append([tried.signal, _interval((tried.gain, tried.low, tried.high)), verdict])
    click.echo("\n" + table(rows))


def _interval(figures: tuple[float, float, float]) -> str:
    return f"{figures[0]:.1%} [{figures[1]:.1%}, {figures[2]:.1%}]"


def _spent(held: HeldOut, budget: str) -> str:
    share, within = held.spent.get(budget), held.spent_within.get(budget)
    if share is None:
        return "-"
    return _interval((share, *within)) if within else f"{share:.1%}"


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:+.3g}" for name, weight in weights.items())
