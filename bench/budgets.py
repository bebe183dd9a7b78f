"""Whether calibrated budgets hold on prompts they were not set by.

    python -m bench.budgets --model pocket --splits 8
    python -m bench.budgets --model pocket --splits 4 --endless
    python -m bench.budgets --model pocket --splits 6 --greedy

Each split fits a calibration as ``fovea calibrate`` does, on three quarters of the prompts, and writes gated replies to
the last quarter: once with the threshold alone, and once as one conversation in which the budget controller moves it.
Replies are drawn as the chat draws them where nothing is set, or greedily. A quarter of a hundred prompts is a small
sample, so the splits are pooled; intervals are resampled over prompts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.calibrate.collect import fits, gated_request, write
from agent.calibrate.prompts import Prompt, from_file, split
from agent.calibrate.run import Order, calibrate
from agent.density.calibration import Calibration
from agent.density.select import BUDGETS
from agent.desk import sampling_of
from agent.measure.figures import machine_name
from agent.measure.frontier.endless import endless
from agent.measure.frontier.local import LocalEngine
from agent.measure.ladder import open_with
from agent.measure.stats import share
from agent.policy.controller import shifted
from agent.settings import Settings
from agent.values import Spending
from backends.engine import Engine
from backends.types import Sampling
from bench.frontier_tables import markdown
from tui.commands.bench import build

PROMPTS = Path("bench/prompts/prompts.jsonl")
HELD_SEED = 1000
"""Held-out replies are drawn with other random numbers than those of the fit."""


def salted(prompts: Sequence[Prompt], salt: int) -> list[Prompt]:
    """The same prompts with other group names, so that they fall into other parts."""
    return [replace(prompt, group=f"{salt}/{prompt.group}") for prompt in prompts]


def play(
    engine: Engine, found: Calibration, prompts: Sequence[Prompt], budget: float, order: Order, *, controlled: bool
) -> list[tuple[int, int]]:
    """Gated replies: tokens at the high tier and tokens in all, per prompt; each with random numbers of its own."""
    spent, every, rows = 0, 0, []
    gate = found.gate(budget)
    for number, prompt in enumerate(prompts):
        if not fits(engine, prompt, order.tokens):
            continue
        now = gate
        if controlled:
            so_far = Spending(spent, every, 0, 0, budget)
            now = replace(gate, threshold=shifted(gate.threshold, so_far, budget))
        sampling = replace(order.sampling, seed=order.sampling.seed + HELD_SEED + number)
        request = gated_request(engine, prompt, found.low, found.high, now, order.tokens, sampling)
        usage = write(engine, request).done.usage
        spent, every = spent + usage.high_tokens, every + usage.completion_tokens
        rows.append((usage.high_tokens, usage.completion_tokens))
    return rows


def main() -> None:
    """Fit, play, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--tiers", default="4-bit,16-bit")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96, help="longest reply (default %(default)s)")
    parser.add_argument("--endless", action="store_true", help="forbid the end of a reply")
    parser.add_argument("--greedy", action="store_true", help="the likeliest token always")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    tiers = arguments.tiers.split(",")
    spec = build(arguments.model, tiers, 2048, arguments.threads, parallel=1)
    engine = LocalEngine(endless(open_with) if arguments.endless else open_with)
    rows: dict[tuple[float, bool], list[list[tuple[int, int]]]] = {}
    try:
        engine.load(spec)
        order = Order(
            spec.tiers[-1].path.name, tiers[0], tiers[-1], tokens=arguments.tokens, samples=1, check=False,
            sampling=Sampling() if arguments.greedy else sampling_of(Settings(), 0),
        )  # fmt: skip
        for salt in range(arguments.splits):
            print(f"split {salt + 1} of {arguments.splits}", file=sys.stderr, flush=True)
            prompts = salted(from_file(arguments.prompts), salt)
            found = calibrate(engine, prompts, order, lambda name, share: None)
            held = split(prompts)[2]
            for budget in BUDGETS:
                for controlled in (False, True):
                    played = play(engine, found, held, budget, order, controlled=controlled)
                    rows.setdefault((budget, controlled), []).append(played)
    finally:
        engine.close()
    print(f"{machine_name()}; {arguments.splits} splits, {len(split(prompts)[2])} held-out prompts each\n")
    print(markdown([heading(), *(line(budget, rows) for budget in BUDGETS)]))


def heading() -> list[str]:
    """Of the table."""
    return ["budget", "threshold alone, %", "splits, %", "with the controller, %", "splits, %"]


def line(budget: float, rows: dict[tuple[float, bool], list[list[tuple[int, int]]]]) -> list[str]:
    """One budget: the pooled share with its interval, and the smallest and largest share of a split."""
    cells = [f"{budget:.0%}"]
    for controlled in (False, True):
        splits = rows[budget, controlled]
        each = [100 * share(*zip(*played, strict=True)).value for played in splits]
        together = [row for played in splits for row in played]
        cells += [share(*zip(*together, strict=True)).percent(), f"{min(each):.1f} to {max(each):.1f}"]
    return cells


if __name__ == "__main__":
    main()
