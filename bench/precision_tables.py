"""The tables of docs/precision.md from reports of `fovea bench frontier --json`.

python -m bench.precision_tables report.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def percent(estimate: dict[str, float], digits: int = 1) -> str:
    """A share with its interval, in percent."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ratio(estimate: dict[str, float] | None) -> str:
    """A ratio with its interval."""
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]" if estimate else "–"


def markdown(rows: list[list[str]]) -> str:
    """Rows (the first is the heading) as a markdown table."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def points(report: dict[str, Any]) -> list[list[str]]:
    """One row per policy."""
    head = "policy|agreement, %|KL mean|KL 99 %|identical, %|time ÷ 16-bit|time ÷ 8-bit|closer, %|gate, %|memory, MB"
    rows = [head.split("|")]
    for point in report["points"]:
        timed = point["kind"] != "oracle"
        gate = f"{100 * point['gate']:.1f}" if point["kind"] in ("gated", "speculative", "entropy") else "–"
        rows.append(
            [
                point["name"],
                percent(point["agreement"], 2),
                f"{point['kl']['value']:.2g}",
                f"{point['kl_tail']:.2g}",
                f"{100 * point['identical']['value']:.0f}",
                ratio(point["time"]) if timed else "–",
                ratio(point["time_8bit"]) if timed else "–",
                f"{100 * point['high']['value']:.1f}",
                gate,
                f"{point['memory'] / 1e6:.0f}",
            ]
        )
    return rows


def routers(report: dict[str, Any]) -> list[list[str]]:
    """One row per score."""
    budgets = list(report["routers"][0]["caught"])
    rows = [["score", *(f"forks caught at {b}, %" for b in budgets), "AUROC", "APGR", "CPT(50), %", "CPT(80), %"]]
    for router in report["routers"]:
        rows.append(
            [
                router["name"],
                *(percent(router["caught"][b], 0) for b in budgets),
                f"{router['auroc']['value']:.3f}",
                ratio(router["apgr"]),
                percent(router["cpt50"], 0),
                percent(router["cpt80"], 0),
            ]
        )
    return rows


def main() -> None:
    """Print the tables of each report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    for path in parser.parse_args().reports:
        report = json.loads(path.read_text("utf-8"))
        print(f"> {report['verdict']}\n")
        print(markdown(points(report)) + "\n")
        print(markdown(routers(report)) + "\n")


if __name__ == "__main__":
    main()
