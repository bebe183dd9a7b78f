"""The figures of docs/precision.md: runs of `fovea bench frontier`, their plots, and the tables between the markers.

    python -m bench.frontier replies --out build/frontier
    python -m bench.frontier prose --out build/frontier
    python -m bench.frontier padded --out build/frontier
    python -m bench.frontier padded-bf16 --out build/frontier
    python -m bench.frontier tables --out build/frontier

``replies``: the built-in model, every policy, replies as long as it makes them, and texts (``--texts``) read at both
tiers. ``prose``: 96 tokens to each prompt, whatever the model would do; the density fitted here serves the next run.
``padded``: the same prompts at the cost of a model of 0.6 billion weights, for times. ``padded-bf16``: that model with
its weights rounded to bfloat16, which is how most models are published. ``tables`` writes what these left in the folder
into the page. The machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.frontier_tables import differences, points, readings, verdict

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "precision.md"
IMAGES = ROOT / "docs" / "images"
PROMPTS = "bench/prompts/prompts.jsonl"
TIERS = "4-bit,8-bit,16-bit"
TOKENS = "96"
RUNS = ("replies", "prose", "padded", "padded-bf16")
FILES = {"padded": "F16", "padded-bf16": "BF16"}
"""Type of the 16-bit weights of each run on a padded model."""


def command(run: str, arguments: argparse.Namespace) -> list[str]:
    """The options of one run of `fovea bench frontier`, without where its results go; paths from the project's root."""
    out = Path(os.path.relpath(arguments.out, ROOT))
    threads = ["--threads", str(arguments.threads)]
    if run == "replies":
        texts = ["--texts", str(arguments.texts)] if arguments.texts else []
        return ["--model", "pocket", "--prompts", PROMPTS, "--samples", "4", *texts, *threads]
    endless = ["--prompts", PROMPTS, "--tokens", TOKENS, "--endless", "--tiers", TIERS]
    if run == "prose":
        return [
            "--model",
            "pocket",
            *endless,
            "--samples",
            "2",
            "--kinds",
            "read-high,gated,own-cache,speculative",
            *threads,
        ]
    model = str(arguments.padded or out / f"pocket-{arguments.target}-{FILES[run]}.gguf")
    kinds = ["--kinds", "gated,speculative", "--most", str(arguments.most), "--calibration", str(out / "prose.density")]
    return ["--model", model, *endless, *kinds, *threads]


def run(name: str, arguments: argparse.Namespace) -> None:
    """One run, its report and its plot."""
    out: Path = arguments.out
    if name in FILES and not arguments.padded:
        _pad(arguments.target, out, FILES[name])
    options = command(name, arguments)
    results = ["--json", str(out / f"{name}.json"), "--plot", str(out / f"{name}.png")]
    (out / f"{name}.command").write_text(shlex.join(["fovea", "bench", "frontier", *options]) + "\n", "utf-8")
    subprocess.run(
        [str(Path(sys.executable).with_name("fovea")), "bench", "frontier", *options, *results], cwd=ROOT, check=True
    )
    if name == "prose":
        _keep_density(out / "prose.json", out / "prose.density")


def _pad(target: str, out: Path, kind: str) -> None:
    """Make the padded file, where it is not there yet."""
    path = out / f"pocket-{target}-F16.gguf"
    if not path.is_file():
        pad = [sys.executable, "-m", "bench.pad_model", "--target", target, "--out", str(path)]
        subprocess.run(pad, cwd=ROOT, check=True)
    other = out / f"pocket-{target}-{kind}.gguf"
    if not other.is_file():
        fovea = str(Path(sys.executable).with_name("fovea"))
        subprocess.run(
            [fovea, "models", "quantize", str(path), "--to", kind.lower(), "--output", str(other)], cwd=ROOT, check=True
        )


def _keep_density(report: Path, path: Path) -> None:
    """The density fitted by one run as a calibration file, for a run of the same model at another size."""
    from agent.density.calibration import Calibration, save

    found = json.loads(report.read_text("utf-8"))
    thresholds = tuple((float(budget), float(threshold)) for budget, threshold in found["thresholds"].items())
    source = f"{found['model']}, prompts that were not held out"
    save(
        Calibration(
            found["model"], found["low"], found["top"], {}, found["density"], thresholds,
            source=source, date=found["date"],
        ),
        path,
    )  # fmt: skip


# Tables --------------------------------------------------------------------------------------------------------------


def tables(out: Path) -> None:
    """Write the tables of all runs in the folder into the page, and copy the plots."""
    page = PAGE.read_text("utf-8")
    for name in RUNS:
        report = out / f"{name}.json"
        if not report.is_file():
            continue
        found = json.loads(report.read_text("utf-8"))
        line = (out / f"{name}.command").read_text("utf-8").strip()
        page = filled(page, name, "\n\n".join(part for part in _parts(found, line) if part))
        plot = out / f"{name}.png"
        if plot.is_file():
            shutil.copyfile(plot, IMAGES / f"frontier-{name}.png")
    PAGE.write_text(page, "utf-8")


def _parts(report: dict[str, Any], line: str) -> list[str]:
    makers: list[Callable[[dict[str, Any]], str]] = [verdict, points, differences, readings]
    where = f"`{line}`, {report['prompts']} held-out prompts, {report['tokens']} tokens, {report['machine']}:"
    return [where, *(make(report) for make in makers)]


def filled(page: str, name: str, content: str) -> str:
    """The page with new content between the markers of a run.

    Raises:
        ValueError: the page has no such markers.
    """
    start, end = f"<!-- frontier {name}: written by bench.frontier -->", f"<!-- end of frontier {name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE} has no line {start}")
    return pattern.sub(lambda _: f"{start}\n{content}\n{end}", page)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=(*RUNS, "tables"))
    parser.add_argument("--out", type=Path, default=Path("build/frontier"))
    parser.add_argument("--texts", type=Path, help="texts for the first run: paragraphs no model here was trained on")
    parser.add_argument("--padded", type=Path, help="a 16-bit file made by bench.pad_model; otherwise it is made")
    parser.add_argument("--target", default="0.6b", help="size of the padded model (default %(default)s)")
    parser.add_argument("--most", type=int, default=12, help="prompts of the padded runs (default %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="compute threads (0: chosen by measurement)")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.part == "tables":
        tables(arguments.out)
    else:
        run(arguments.part, arguments)


if __name__ == "__main__":
    main()
