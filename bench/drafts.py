"""Where speculative drafts should end: real drafts, timed by what steps cost at the size that matters.

    python -m bench.drafts --cost build/frontier/pocket-0.6b-BF16.gguf --calibration build/frontier/prose.density

Writes the held-out prompts of ``bench/prompts`` speculatively with the small model, once for each end of drafts, and
counts the steps of both tiers. Their time is that of steps as wide of the padded model, measured first (the padded
model computes the same logits: its drafts are these). So hundreds of replies are compared in a minute, with no drift of
the machine between them. What the two processes do besides steps is left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from agent.calibrate.prompts import Prompt, from_file, split
from agent.density.calibration import load
from agent.measure.frontier.endless import endless
from agent.measure.frontier.local import LocalEngine
from agent.measure.frontier.run import SHARES
from agent.measure.frontier.wrapped import Wrapped
from agent.measure.ladder import open_with
from backends.gate import DEFAULT_WEIGHTS
from backends.models.tiers import ensure_tier
from backends.stepper import Feed, Logits, Stepper
from backends.types import Decoder, Gate, LadderSpec, Request, Step, TierSpec
from bench.frontier_tables import markdown
from bench.wide_steps import measure
from tui.commands.bench import build
from tui.commands.model_tools import cache_folder

TIERS = ("4-bit", "16-bit")
DOUBTS = (0.05, 0.1, 0.15, 0.2)
MARGINS = (0.13, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Ends of drafts without a calibration: margins in nats."""
WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 16, 18, 19, 24]
TOKENS, REPEATS = 96, 21

Cost = Callable[[int], float]
"""Tokens of a step to its seconds."""


class Counted(Wrapped):
    """Remembers how wide its steps were."""

    def __init__(self, inner: Stepper, widths: list[int]) -> None:
        super().__init__(inner)
        self._widths = widths

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """The step, counted."""
        self._widths.append(sum(len(feed.tokens) for feed in feeds))
        return self.inner.step(feeds)


def costs(files: Sequence[Path], threads: int) -> list[dict[str, Cost]]:
    """What steps of both tiers of each 16-bit file cost, all measured in turns; a straight line between widths."""
    tiers = [ensure_tier(file, tier, cache_folder(), None) for file in files for tier in TIERS]
    lines = iter([_line(seconds) for seconds in measure(tiers, WIDTHS, threads, REPEATS)])
    return [{tier: next(lines) for tier in TIERS} for _ in files]


def _line(seconds: Mapping[int, float]) -> Cost:
    return lambda width: float(np.interp(width, list(seconds), list(seconds.values())))


def play(engine: LocalEngine, widths: Mapping[str, list[int]], prompts: Iterable[Prompt], gate: Gate) -> int:
    """Write every prompt speculatively; the tokens written. ``widths`` then holds the steps of both tiers."""
    for each in widths.values():
        each.clear()
    written = 0
    for prompt in prompts:
        begin = tuple(engine.tokenize(prompt.begin)) if prompt.begin else ()
        low, high = TIERS
        for tier in TIERS:  # every reply reads its prompt itself, as in the other benches
            reader = engine.ladder.reader(tier)
            reader.make_room(reader.stepper.facts.n_ctx)
        request = Request(prompt.messages, low, Decoder.SPECULATIVE, high, begin, max_tokens=TOKENS, gate=gate)
        written += sum(isinstance(event, Step) for event in engine.run(request))
    return written


def main() -> None:
    """Measure, play, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--cost", type=Path, required=True, nargs="+", help="16-bit files made by bench.pad_model")
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, default=Path("bench/prompts/prompts.jsonl"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tables = costs(arguments.cost, arguments.threads)
    widths: dict[str, list[int]] = {tier: [] for tier in TIERS}

    def counted(tier: TierSpec, ladder: LadderSpec) -> Stepper:
        return cast("Stepper", Counted(endless(open_with)(tier, ladder), widths[tier.name]))

    weights = load(arguments.calibration).weights
    ends = [(f"density {doubt}", Gate(doubt, dict(weights))) for doubt in DOUBTS]
    scale = -DEFAULT_WEIGHTS["margin"]
    ends += [(f"margin {margin} nats", Gate(1 / (1 + math.exp(scale * margin)))) for margin in MARGINS]
    held = split(from_file(arguments.prompts), SHARES)[2]
    rows = [["drafts end at", *(f"tok/s ÷ 16-bit, {file.name}" for file in arguments.cost)]]
    engine = LocalEngine(counted)
    try:
        engine.load(build(arguments.model, TIERS, 2048, 1, parallel=1))
        for name, gate in ends:
            written = play(engine, widths, held, gate)
            row = [name]
            for table in tables:
                seconds = sum(table[tier](width) for tier in TIERS for width in widths[tier])
                row.append(f"{written * table[TIERS[1]](1) / seconds:.2f}")
            rows.append(row)
    finally:
        engine.close()
    print(markdown(rows))


if __name__ == "__main__":
    main()
