"""From hardware and estimates to a ladder: which tiers, which ctx, how many layers on the graphics card, and why.

The plan never refuses. Where nothing fits it still names the smallest ladder, says by how much it is expected not to
fit, and what would help; the load itself decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backends.plan.estimate import Estimate, Run, estimate
from backends.plan.fit import Fit, Fitter, Tiers, Wishes
from backends.plan.hardware import Hardware
from backends.plan.reasons import reasons
from backends.types import EIGHT, FOUR, SIXTEEN

_LADDERS = ((FOUR, EIGHT, SIXTEEN), (FOUR, SIXTEEN), (FOUR, EIGHT), (FOUR,))
_SMALLEST_CTX = 512


@dataclass(frozen=True, slots=True)
class TierPlan:
    """One tier in the plan."""

    name: str
    recipe: str
    path: Path | None
    """Where the file is; ``None`` when it is still to be made."""
    estimate: Estimate
    chosen: bool
    fits_alone: bool
    """Whether this tier by itself would fit with the chosen ctx."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A ladder for one model on one machine. Bytes."""

    run: Run
    n_parallel: int
    tiers: tuple[TierPlan, ...]
    """All tiers there are or could be, low to high."""
    chosen: tuple[str, ...]
    base: int
    """Everything that is not a model: program, engine host, embedder."""
    needed: int
    """Main memory the chosen ladder and the base take."""
    budget: int
    """Main memory that may be used: what is available, less a margin."""
    fits: bool
    n_gpu_layers: int
    card_needed: int
    """Memory on graphics cards the chosen ladder takes."""
    tensor_split: tuple[float, ...]
    smaller: tuple[str, ...]
    """The ladder to try next if this one fails to load; empty when there is none."""
    reasons: tuple[str, ...]
    """One line for each choice."""

    @property
    def speaks(self) -> str:
        """The tier that speaks."""
        return self.chosen[0]

    @property
    def high(self) -> str:
        """The tier of the closer look; empty when there is none."""
        return self.chosen[-1] if len(self.chosen) > 1 else ""


def choose(tiers: Tiers, machine: Hardware, wishes: Wishes) -> Plan:
    """Choose a ladder of one model (``tiers`` holds at least one) for a machine, within what the person fixed."""
    fitter = Fitter(tiers, machine, wishes)
    ladders = _ladders(tiers)
    said = []
    if wishes.ctx > fitter.trained:
        said.append(f"ctx {wishes.ctx:,} is more than the model was trained for: {fitter.trained:,} is planned")
    best = next((fit for names in ladders if (fit := fitter.fit(names, fitter.ctx)).over <= 0), None)
    if best is None:
        best = _shorter(ladders[-1], fitter, fixed=wishes.ctx > 0)
        if best.over <= 0:
            said.append(f"ctx {best.run.ctx:,} instead of {fitter.ctx:,}, because the cache would not fit otherwise")
    return _plan(best, ladders, fitter, (*said, *reasons(best, ladders, fitter)))


def _ladders(tiers: Tiers) -> list[tuple[str, ...]]:
    """The ladders these tiers allow, the most wanted first."""
    found: list[tuple[str, ...]] = []
    for names in _LADDERS:
        there = tuple(name for name in names if name in tiers)
        if there and there not in found:
            found.append(there)
    return found or [tuple(tiers)]


def _shorter(names: tuple[str, ...], fitter: Fitter, *, fixed: bool) -> Fit:
    """The longest halved ctx with which ``names`` fit; the last one tried where none does."""
    fit = fitter.fit(names, fitter.ctx)
    while not fixed and fit.over > 0 and fit.run.ctx // 2 >= _SMALLEST_CTX:
        fit = fitter.fit(names, fit.run.ctx // 2)
    return fit


def _plan(best: Fit, ladders: list[tuple[str, ...]], fitter: Fitter, said: tuple[str, ...]) -> Plan:
    tiers = tuple(
        TierPlan(
            name=name,
            recipe=recipe,
            path=path,
            estimate=estimate(layout, best.run),
            chosen=name in best.names,
            fits_alone=fitter.fit((name,), best.run.ctx).over <= 0,
        )
        for name, (layout, recipe, path) in fitter.tiers.items()
    )
    room = sum(fitter.cards)
    several = len(fitter.cards) > 1 and best.layers > 0
    at = ladders.index(best.names)
    return Plan(
        run=best.run,
        n_parallel=fitter.n_parallel,
        tiers=tiers,
        chosen=best.names,
        base=fitter.base,
        needed=best.ram,
        budget=fitter.budget,
        fits=best.over <= 0,
        n_gpu_layers=-1 if best.layers > len(fitter.layout.layers) else best.layers,
        card_needed=best.card,
        tensor_split=tuple(round(part / room, 2) for part in fitter.cards) if several else (),
        smaller=ladders[at + 1] if at + 1 < len(ladders) else (),
        reasons=said,
    )
