"""The frontier as a picture: agreement over wall time."""

from __future__ import annotations

from pathlib import Path

from agent.errors import AgentError
from agent.measure.frontier.points import Point
from agent.measure.frontier.report import Report

_LOOKS = {
    "static": ("o", "#4c566a", "one tier"),
    "read-high": ("P", "#2a9d8f", "read high, speak low"),
    "gated": ("D", "#d1495b", "gated by density"),
    "speculative": ("*", "#e09f3e", "speculative (exact)"),
    "turn": ("s", "#8e6c8a", "whole turns"),
    "random": ("x", "#9aa0a6", "random gate"),
    "entropy": ("+", "#7f8fa6", "entropy gate"),
}


def plot(report: Report, path: Path) -> None:
    """Write a picture (the ending of ``path`` says which kind).

    Raises:
        AgentError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise AgentError("A plot needs matplotlib: pip install 'fovea-agent[bench]'") from error
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for kind, (marker, colour, label) in _LOOKS.items():
        chosen = [point for point in report.points if point.kind == kind]
        if not chosen:
            continue
        x = [point.time.value for point in chosen]
        y = [100 * (1 - point.agreement.value) for point in chosen]
        reach = [[100 * (p.agreement.high - p.agreement.value) for p in chosen],
                 [100 * (p.agreement.value - p.agreement.low) for p in chosen]]  # fmt: skip
        axes.errorbar(
            x, y, yerr=reach, fmt=marker, color=colour, label=label, markersize=9, elinewidth=0.8, capsize=2, alpha=0.9
        )
        if kind == "gated":
            line = [(px, py) for px, py, point in zip(x, y, chosen, strict=True) if " to " not in point.name]
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.9, alpha=0.6)
        for point in chosen:
            axes.annotate(_short(point), (point.time.value, 100 * (1 - point.agreement.value)),
                          textcoords="offset points", xytext=(6, 5), fontsize=8, color=colour)  # fmt: skip
    axes.set_xlabel(f"wall time per token, as a share of {report.top} (lower is faster)")
    axes.set_ylabel(f"tokens that are not {report.top}'s own choice, % (fewer is nearer)")
    axes.set_title(f"{report.model}: {report.prompts} prompts, {report.machine}", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)  # room for the name of the rightmost point
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise AgentError(f"The plot could not be written to {path}: {error}") from error
    finally:
        pyplot.close(figure)


def _short(point: Point) -> str:
    return (
        point.name.partition("gate")[2].removeprefix("d").strip() or point.name if "gate" in point.name else point.name
    )
