"""Laying a ladder out in main memory and on graphics cards, by the estimates."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.plan.estimate import Estimate, Run, estimate
from backends.plan.hardware import Hardware
from backends.plan.layout import Layout

INTERPRETER = 45_000_000
"""Bytes of the engine host before any model (measured: 42 MB)."""
PROGRAM = 90_000_000
"""Bytes of the terminal program itself (measured: Textual alone 36 MB, with a long conversation about 90 MB)."""
EMBEDDER = 620_000_000
"""Bytes of the knowledge base's embedder with PyTorch (measured: 575 MB, 633 MB at the peak)."""
_MARGIN_SHARE, _MARGIN_LEAST = 0.05, 400_000_000
_CARD_RESERVE = 600_000_000
"""Bytes left free on each graphics card: driver context and whatever draws the screen."""
_DEFAULT_CTX, _DEFAULT_BATCH, _DEFAULT_PARALLEL = 4096, 512, 4
SPARE_SEQUENCES = 12
"""Sequences the engine host keeps beside the continuations: cached prefixes and tries."""

Tiers = Mapping[str, tuple[Layout, str, Path | None]]
"""Tier name -> (layout, recipe, file or ``None`` while it is not made), low to high."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person fixed. Zeros mean: choose."""

    ctx: int = 0
    batch: int = 0
    n_parallel: int = 0
    cache_type: str = "F16"
    embedder: bool | None = None
    """Whether the knowledge base's embedder runs beside; ``None``: if it is installed."""
    runtime: int = 0
    """Bytes the engine's libraries take beside the interpreter (``folder.RUNTIME`` for transformers)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How one ladder lies in memory. Bytes."""

    names: tuple[str, ...]
    run: Run
    ram: int
    """Main memory, the program and the embedder included."""
    card: int
    """Memory on graphics cards."""
    layers: int
    """Layers of every tier on the cards; one more than there are: the output head too."""
    over: int
    """Main memory missing; 0 or less: it fits."""


class Fitter:
    """Lays out ladders of one model on one machine."""

    def __init__(self, tiers: Tiers, machine: Hardware, wishes: Wishes) -> None:
        self.tiers = tiers
        self.machine = machine
        self.layout = next(iter(tiers.values()))[0]
        self.n_parallel = wishes.n_parallel or _DEFAULT_PARALLEL
        installed = importlib.util.find_spec("sentence_transformers") is not None
        self.embedder = installed if wishes.embedder is None else wishes.embedder
        self.base = INTERPRETER + PROGRAM + wishes.runtime + (EMBEDDER if self.embedder else 0)
        self.budget = machine.available - max(int(machine.memory * _MARGIN_SHARE), _MARGIN_LEAST)
        self.trained = self.layout.context or _DEFAULT_CTX
        self.ctx = min(wishes.ctx or _DEFAULT_CTX, self.trained)
        self._wishes = wishes
        self._known: dict[tuple[str, int], Estimate] = {}

    @property
    def cards(self) -> tuple[int, ...]:
        """Bytes that may be used on each usable card."""
        return tuple(max(gpu.free - _CARD_RESERVE, 0) for gpu in self.machine.usable_gpus)

    def run(self, ctx: int) -> Run:
        """How tiers run with this ctx."""
        return Run(
            ctx=ctx,
            batch=self._wishes.batch or _DEFAULT_BATCH,
            sequences=self.n_parallel + SPARE_SEQUENCES,
            cache_type=self._wishes.cache_type,
            features=self.machine.features,
        )

    def need(self, name: str, run: Run) -> Estimate:
        """The estimate of one tier; computed once for each ctx, because layouts are tried layer by layer."""
        key = (name, run.ctx)
        if key not in self._known:
            self._known[key] = estimate(self.tiers[name][0], run)
        return self._known[key]

    def fit(self, names: tuple[str, ...], ctx: int) -> Fit:
        """As many layers as fit on the cards, the same number for every tier, the rest in main memory."""
        run, room = self.run(ctx), sum(self.cards)
        low, high = 0, len(self.layout.layers) + 1 if room else 0
        while low < high:  # card memory grows with the layers on it: halve the range
            middle = (low + high + 1) // 2
            if self._split(names, run, middle)[1] <= room:
                low = middle
            else:
                high = middle - 1
        layers = low
        ram, card = self._split(names, run, layers)
        ram += self.base
        return Fit(names, run, ram, card, layers, ram - self.budget)

    def _split(self, names: tuple[str, ...], run: Run, layers: int) -> tuple[int, int]:
        """Main memory and card memory with this many layers of every tier on the cards."""
        ram = card = 0
        for name in names:
            need = self.need(name, run)
            if layers == 0:
                ram += need.least
                continue
            count = len(self.layout.layers)
            share = min(layers / count, 1.0)
            sums = self.tiers[name][0].sums
            moved = int(sums.inner * share) + (sums.head if layers > count else 0)
            card += moved + int(need.cache * share) + need.reserved
            ram += need.weights - moved + int(need.cache * (1 - share)) + need.tables
            # With every layer on the card, main memory only holds the rows of logits that come back.
            ram += need.work if layers <= count else need.work // 4
        return ram, card
