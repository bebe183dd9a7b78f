"""The frontier as text and data. Its first line answers the hardest question: does anything beat running Q8_0?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.measure.frontier.control import Difference
from agent.measure.frontier.points import Flips, Point, Reading
from agent.measure.frontier.trial import Trial
from agent.measure.stats import Estimate, bootstrap

OURS = ("read-high", "gated", "speculative", "turn")
"""Kinds of policies that are fovea's own; random, entropy and oracle gates are there to compare with."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run found."""

    verdict: str
    model: str
    machine: str
    date: str
    threads: int
    prompts: int
    tokens: int
    low: str
    top: str
    eight: str
    points: tuple[Point, ...]
    routers: tuple[Reading, ...]
    """Routers on replies and, where texts were given, on texts."""
    flips: Flips
    differences: tuple[Difference, ...]
    """Where exact replies left the highest tier's own, each with its control run."""
    density: dict[str, float]
    """Weights of the density model that gated."""
    thresholds: dict[float, float]
    """Budget to the gate's threshold."""
    note: str = ""


def verdict(points: Sequence[Point], trials: Sequence[Trial], eight: str, top: str) -> str:
    """Whether a policy is both nearer to the highest tier and no slower than the 8-bit tier, with how sure that is."""
    base = next((point for point in points if point.name == eight), None)
    if base is None or base.time_8bit is None:
        return "Does anything beat static 8 bits? Not measured: the ladder has no 8-bit tier."
    candidates = [point for point in points if point.kind in OURS and point.agreement.value > base.agreement.value]
    faster = [point for point in candidates if point.time_8bit is not None and point.time_8bit.value <= 1.0]
    if not faster:
        best = max((point for point in points if point.kind in OURS), key=lambda point: point.agreement.value)
        cost = (best.time_8bit or best.time).value
        return (
            f"Does anything beat static 8 bits ({eight})? No: nothing here is both nearer to {top} and as fast. "
            f"{eight} agrees with {top} on {base.agreement.percent(2)} of its tokens; the nearest of ours, "
            f"{best.name}, on {best.agreement.percent(2)} at {cost:.2f} times its time."
        )
    best = max(faster, key=lambda point: (point.agreement.value, -(point.time_8bit or point.time).value))
    gain = difference(trials, best.name, eight)
    time = best.time_8bit or best.time
    sure = gain.low > 0 and time.high <= 1.0
    answer = "Yes" if sure else "By the figures yes, but within their intervals it may be a draw"
    return (
        f"Does anything beat static 8 bits ({eight})? {answer}: {best.name} agrees with {top} on "
        f"{best.agreement.percent(2)} of its tokens against {base.agreement.percent(2)} (difference "
        f"{gain.percent(2)}), at {time.value:.2f} [{time.low:.2f}, {time.high:.2f}] times its wall time, with "
        f"{best.memory / max(base.memory, 1):.1f} times its memory."
    )


def difference(trials: Sequence[Trial], name: str, other: str) -> Estimate:
    """Agreement of one policy minus another's, paired by prompt."""
    mine = {trial.prompt: trial for trial in trials if trial.policy == name}
    theirs = {trial.prompt: trial for trial in trials if trial.policy == other}
    both = sorted(mine.keys() & theirs.keys())
    rows = np.asarray(
        [[mine[p].agree, len(mine[p].tokens), theirs[p].agree, len(theirs[p].tokens)] for p in both], np.float64
    )

    def figure(at: np.ndarray) -> float:
        a, n, b, m = rows[at].sum(axis=0)
        return float(a / max(n, 1) - b / max(m, 1))

    return bootstrap(rows, figure)


def as_json(report: Report) -> str:
    """The report as one JSON object; what is not a number (no forks, no answers) becomes null."""
    return json.dumps(_plain(asdict(report)), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def table_rows(report: Report) -> list[list[str]]:
    """The points as a table, the first row the heading."""
    rows = [["policy", "agreement", "KL mean", "KL 99 %", "identical", f"time ÷ {report.top}"]]
    if any(point.time_8bit for point in report.points):
        rows[0].append(f"time ÷ {report.eight}")
    rows[0] += [f"tok/s ÷ {report.top}", "looked closer", "gate", "memory"]
    for point in report.points:
        timed = point.kind != "oracle"  # an oracle's time means nothing
        row = [
            point.name,
            point.agreement.percent(2),
            f"{point.kl.value:.2g}",
            f"{point.kl_tail:.2g}",
            f"{point.identical.value:.0%}",
            _ratio(point.time) if timed else "-",
        ]
        if len(rows[0]) == 11:
            row.append(_ratio(point.time_8bit) if timed and point.time_8bit else "-")
        row += [
            _ratio(point.speed) if timed else "-",
            f"{point.high.value:.1%}",
            f"{point.gate:.1%}" if point.kind in ("gated", "own-cache", "entropy", "speculative") else "-",
            f"{point.memory / 1e6:,.0f} MB",
        ]
        rows.append(row)
    return rows


def router_rows(reading: Reading) -> list[list[str]]:
    """The routers on some text as a table."""
    budgets = list(reading.routers[0].caught) if reading.routers else []
    rows = [["score", *(f"forks caught at {b}" for b in budgets), "AUROC", "APGR", "CPT(50)", "CPT(80)"]]
    for router in reading.routers:
        rows.append(
            [
                router.name,
                *(router.caught[b].percent(0) for b in budgets),
                f"{router.auroc.value:.3f}",
                f"{router.apgr.value:.3f} [{router.apgr.low:.3f}, {router.apgr.high:.3f}]",
                router.cpt50.percent(0),
                router.cpt80.percent(0),
            ]
        )
    return rows


def _ratio(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
