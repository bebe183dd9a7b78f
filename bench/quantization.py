"""Everything docs/quantization.md states about a model, made again: checkpoints, measurements, and the page's tables.

Quantizers that want other versions of torch or transformers live in environments of their own; what has none is left
out, and the page says so. On a new model:

    python -m venv ENVS/gptqmodel && ENVS/gptqmodel/bin/pip install -e '.[transformers,gptqmodel]'
    python -m venv ENVS/autoround && ENVS/autoround/bin/pip install -e '.[transformers,autoround]'
    python -m venv ENVS/llmcompressor && ENVS/llmcompressor/bin/pip install llmcompressor 'transformers<5.18'
    python -m bench.quantization --model backends/pocket/pocket-F16.gguf --envs ENVS --work build/quant

Every method reads the same prompts and answers (``bench.quant_table``). ``--speed FILE`` takes the JSON of a
``bench.quant_table --only-speed`` into the page as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.quant_table import _figure, unpacked

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quantization.md"
TEXTS = ROOT / "training" / "texts"
MADE_BY = {
    "FP8 (E4M3)": ("", "fp8"),
    "GPTQ": ("gptqmodel", "gptq"),
    "AWQ": ("gptqmodel", "awq"),
    "AutoRound": ("autoround", "autoround"),
}
"""Row of the table -> (environment it is made and read in, method of ``fovea models quantize``)."""
ROUNDS = 20
"""AutoRound's rounds of tuning for each layer (the library's own 200 take some ten times as long)."""

MAKE = """
import sys
from pathlib import Path
from backends.transformers_engine.quantize import quantize_folder
source, method, target, text, rounds = sys.argv[1:]
fitted = Path(text) if method in ("gptq", "awq", "autoround") else None
quantize_folder(Path(source), method, Path(target), text=fitted, force=True, iterations=int(rounds))
"""


def calibration(folder: Path) -> Path:
    """The training texts as one file: like what the model is used for, and none of what is measured on."""
    out = folder / "calibration.txt"
    parts = [path.read_text(encoding="utf-8") for path in sorted(TEXTS.iterdir()) if path.suffix in {".txt", ".md"}]
    out.write_text("\n".join(parts), encoding="utf-8")
    return out


def python_of(env: str, envs: Path | None) -> str:
    """The interpreter of an environment; empty when it is not there."""
    if not env:
        return sys.executable
    path = envs / env / "bin" / "python" if envs else None
    return str(path) if path is not None and path.exists() else ""


def run(python: str, *args: str) -> None:
    """Run a program of another environment on this checkout."""
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    subprocess.run([python, *args], check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": search})


def make(args: argparse.Namespace) -> list[tuple[str, str, Path]]:
    """Make what can be made; (row, interpreter, folder) of each."""
    folder, text = unpacked(args.model, args.work), calibration(args.work)
    made = []
    for row, (env, method) in MADE_BY.items():
        python, target = python_of(env, args.envs), args.work / method
        if not python:
            print(f"{row}: left out, no environment {env}", flush=True)
            continue
        if not target.exists():
            run(python, "-c", MAKE, str(folder), method, str(target), str(text), str(ROUNDS))
        made.append((row, python, target))
    python = python_of("llmcompressor", args.envs)
    if python:
        subprocess.run([python, "bench/compressed_checkpoints.py", str(folder), str(text), str(args.work)], check=True)
    made += [
        (f"compressed-tensors {path.name.removeprefix('compressed-')}", sys.executable, path)
        for path in sorted(args.work.glob("compressed-*"))
    ]
    return made


def measure(args: argparse.Namespace, made: list[tuple[str, str, Path]]) -> list[dict[str, Any]]:
    """All rows, each measured by the interpreter that can read it."""
    table = ["-m", "bench.quant_table", "--model", str(args.model), "--work", str(args.work), "--no-speed"]
    table += ["--threads", str(args.threads), "--limit", str(args.limit)]
    rows: list[dict[str, Any]] = []
    for python in dict.fromkeys([sys.executable, *(python for _, python, _ in made)]):
        own = [(row, folder) for row, other, folder in made if other == python]
        out = args.work / f"rows-{Path(python).parents[1].name.lstrip('.')}.json"
        checkpoints = [part for row, folder in own for part in ("--checkpoint", f"{row}={folder}")]
        only = [] if python == sys.executable else ["--only", ",".join(row for row, _ in own)]
        if not out.exists():  # an interrupted run goes on where it was
            run(python, *table, *checkpoints, *only, "--json", str(out))
        rows += [row for row in json.loads(out.read_text()) if python == sys.executable or row["name"] != "fp32"]
    stored = {row: sum(f.stat().st_size for f in folder.glob("*.safetensors")) for row, _, folder in made}
    return [row | {"stored": stored.get(row["name"])} for row in rows]


# The page -----------------------------------------------------------------------------------------------------------


def fidelity(rows: list[dict[str, Any]], model: Path) -> str:
    """The table of losses and what it shows."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()[:12]
    by_name = {row["name"]: row for row in rows}
    lines = [
        f"Model: `{model.name}`, sha256 {digest}…; {by_name['F16']['positions']:,} tokens.",
        "",
        "| method | engine | on disk | in memory | KL, nats | same first choice |",
        "|---|---|---:|---:|---|---|",
    ]
    for row in rows:
        if row["problem"]:
            lines.append(f"| {row['name']} | {row['engine']} | | | not run: {row['problem']} | |")
            continue
        kl = _figure(row["kl"], row["kl_half"] or 0.0) if row["kl"] else "0 (the reference)"
        same = f"{100 * row['top1']:.2f} ± {100 * row['top1_half']:.2f} %" if row["kl"] else "100 %"
        disk = f"{row['stored'] / 1e6:.1f} MB" if row.get("stored") else ""
        lines.append(f"| {row['name']} | {row['engine']} | {disk} | {row['bytes'] / 1e6:.1f} MB | {kl} | {same} |")
    return "\n".join([*lines, "", *_remarks(by_name)])


def _remarks(rows: dict[str, dict[str, Any]]) -> list[str]:
    """What the figures say, in words that follow them."""

    def times(near: str, far: str) -> str:
        ratio = rows[far]["kl"] / rows[near]["kl"]
        return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"

    def other(name: str) -> str:
        return f"{100 * (1 - rows[name]['top1']):.2g} %"

    hybrid, plain = rows["Q4_K_M hybrid"], rows["Q4_K_M"]
    apart = abs(hybrid["kl"] - plain["kl"]) > hybrid["kl_half"] + plain["kl_half"]
    better = "nearer to" if hybrid["kl"] < plain["kl"] else "further from"
    return [
        f"* Measured from 16 bits, Q8_0 is {times('Q8_0', 'Q4_K_M')} times nearer than Q4_K_M, Q6_K "
        f"{times('Q6_K', 'Q4_K_M')} times, Q5_K_M {times('Q5_K_M', 'Q4_K_M')} times. Of the first choices, "
        f"{other('Q4_K_M')} are other ones at Q4_K_M, {other('Q3_K_M')} at Q3_K_M, {other('Q2_K')} at Q2_K.",
        f"* fp4 is {times('nf4', 'fp4')} times as far off as nf4, nf4 {times('Q4_K_M', 'nf4')} times as far as Q4_K_M; "
        f"int8, which rounds activations too and was run with bf16 around it, {times('Q8_0', 'int8')} times as far as "
        "Q8_0.",
        "* The hybrid form of Q4_K_M (embeddings and head at 16 bits) "
        + (f"is {better} 16 bits than Q4_K_M" if apart else "does not differ from Q4_K_M within the intervals")
        + f" and is {hybrid['bytes'] / plain['bytes']:.2f} times its size here.",
        f"* bf16 is not free where weights are stored as float16: {other('bf16')} of the first choices change.",
    ]


def speed(rows: list[dict[str, Any]]) -> str:
    """The table of speeds."""
    lines = ["| method | engine | in memory | reads ÷ F16 | writes ÷ F16 |", "|---|---|---:|---|---|"]
    for row in rows:
        if row["write_share"] is not None:
            read = f"{row['read_share']:.2f} ({row['read_tok_s']:.0f}/s)"
            write = f"{row['write_share']:.2f} ({row['write_tok_s']:.1f}/s)"
            lines.append(f"| {row['name']} | {row['engine']} | {row['bytes'] / 1e6:.1f} MB | {read} | {write} |")
    return "\n".join(lines)


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of ``name``."""
    start, end = f"<!-- {name}: written by bench.quantization -->", f"<!-- end of {name} -->"
    before, rest = page.read_text(encoding="utf-8").split(start)
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def main() -> None:
    """Make, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "backends" / "pocket" / "pocket-F16.gguf")
    parser.add_argument("--envs", type=Path, help="folder of the other environments")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "quant", help="a folder in it for each model")
    parser.add_argument("--limit", type=int, default=64, help="prompts to use")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speed", type=Path, help="JSON of a run with --only-speed")
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    args.model, args.work = args.model.resolve(), args.work.resolve()
    digest = hashlib.sha256(args.model.read_bytes()).hexdigest()
    args.work = args.work / digest[:12]  # what was made of another model is never taken for this one's
    args.work.mkdir(parents=True, exist_ok=True)
    rows = measure(args, make(args))
    (args.work / "fidelity.json").write_text(json.dumps(rows, indent=1) + "\n")
    put(args.page, "fidelity", fidelity(rows, args.model))
    if args.speed:
        put(args.page, "speed", speed(json.loads(args.speed.read_text())))


if __name__ == "__main__":
    main()
