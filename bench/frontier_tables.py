"""Markdown of a report of `fovea bench frontier --json`."""

from __future__ import annotations

from typing import Any

GATED = ("gated", "own-cache", "speculative", "entropy")
"""Kinds whose gate computes signals."""


def verdict(report: dict[str, Any]) -> str:
    """The answer to the hardest question, as a quotation."""
    return f"> {report['verdict']}"


def points(report: dict[str, Any]) -> str:
    """One row per policy."""
    top = report["top"]
    rows = [
        ["policy", "agreement, %", "KL mean", "KL 99 %", "identical, %", f"time ÷ {top}", f"time ÷ {report['eight']}",
         f"tok/s ÷ {top}", "closer, %", "gate, %", "memory, MB"],
    ]  # fmt: skip
    for point in report["points"]:
        timed = point["kind"] != "oracle"
        gate = (
            f"{100 * point['gate']:.1f}" if point["kind"] in ("gated", "own-cache", "speculative", "entropy") else "–"
        )
        rows.append(
            [
                point["name"],
                percent(point["agreement"], 2),
                f"{point['kl']['value']:.2g}",
                f"{point['kl_tail']:.2g}",
                f"{100 * point['identical']['value']:.0f}",
                ratio(point["time"]) if timed else "–",
                ratio(point["time_8bit"]) if timed else "–",
                ratio(point["speed"]) if timed else "–",
                percent(point["high"]),
                gate,
                f"{point['memory'] / 1e6:.0f}",
            ]
        )
    return markdown(rows)


def differences(report: dict[str, Any]) -> str:
    """The control run of each exact reply that is not the highest tier's own."""
    if not report["differences"]:
        return ""
    rows = [["exact reply", "shared tokens", "16-bit's logit gap there", "the same in steps as wide", "explained"]]
    for found in report["differences"]:
        rows.append(
            [
                f"{found['policy']}, prompt {found['prompt'] + 1}",
                str(found["at"]),
                f"{found['margin']:.4f}",
                f"{found['margin_wide']:.4f}",
                "yes, by the width of steps" if found["margin_wide"] < 0 else "**no**",
            ]
        )
    return markdown(rows)


def readings(report: dict[str, Any]) -> str:
    """The routers on each kind of text."""
    parts = []
    for reading in report["routers"]:
        what = (
            f"On {reading['name']}: {reading['forks']:,} forks in {reading['tokens']:,} tokens "
            f"({100 * reading['forks'] / reading['tokens']:.1f} %) of {reading['units']} prompts or documents; of the "
            f"2 % of tokens with the smallest margins, {100 * reading['at_ties']:.0f} % are forks."
        )
        parts.append(what + "\n\n" + _routers(reading))
    return "\n\n".join(parts)


def _routers(reading: dict[str, Any]) -> str:
    budgets = list(reading["routers"][0]["caught"])
    rows = [["score", *(f"forks caught at {b}, %" for b in budgets), "AUROC", "APGR", "CPT(50), %", "CPT(80), %"]]
    for router in reading["routers"]:
        rows.append(
            [
                router["name"],
                *(percent(router["caught"][b], 0) for b in budgets),
                ratio(router["auroc"], 3),
                ratio(router["apgr"]),
                percent(router["cpt50"], 0),
                percent(router["cpt80"], 0),
            ]
        )
    return markdown(rows)


def percent(estimate: dict[str, float], digits: int = 1) -> str:
    """A share with its interval, in percent."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ratio(estimate: dict[str, float] | None, digits: int = 2) -> str:
    """A ratio with its interval."""
    if not estimate:
        return "–"
    return f"{estimate['value']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"


def markdown(rows: list[list[str]]) -> str:
    """Rows (the first is the heading) as a markdown table."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
