"""What each quantization loses and costs: one model, one set of prompts, every method that runs on this machine.

The 16-bit GGUF answers each prompt greedily. Every method then reads the same prompts and answers and is compared at
every position with the reference, the 16-bit weights computed in float32: KL(reference || method) in nats, and how
often the likeliest token is the same. Speeds are of one sequence. All methods run through fovea's own engines.

    python -m bench.quant_table --model backends/pocket/pocket-F16.gguf --work build/quant --json build/quant.json
    python -m bench.quant_table --model build/shape-0.1b.gguf --work build/quant-0.1b --only-speed --threads 2

``bench.quantization`` makes the checkpoints that other libraries make, runs this, and writes the page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from backends.errors import BackendError
from backends.stepper import Feed, Stepper
from backends.types import Message

PROMPTS = Path(__file__).parent / "prompts" / "prompts.jsonl"
CTX, REPLY = 1024, 48
READ, WRITE, BLOCKS = 128, 16, 5
"""Tokens of a timed block of reading and of writing, and how many blocks (``--read``, ``--write``, ``--blocks``)."""
GGUF = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
TORCH = {"fp32": ("fp32", "none"), "fp16": ("fp16", "none"), "bf16": ("bf16", "none"), "int8": ("bf16", "int8"),
         "nf4": ("bf16", "nf4"), "fp4": ("bf16", "fp4")}  # fmt: skip
"""Name -> (dtype, quantization while loading)."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    name: str
    engine: str
    folder: str = ""
    """A checkpoint that is quantized already."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured. ``None`` where it was not."""

    name: str
    engine: str
    bytes: int
    """Weights in memory."""
    kl: float | None = None
    """Mean over all positions, nats."""
    kl_half: float | None = None
    """Half width of its 95 % interval, prompts resampled."""
    top1: float | None = None
    """Share of positions with the same likeliest token."""
    top1_half: float | None = None
    positions: int = 0
    read_tok_s: float | None = None
    write_tok_s: float | None = None
    read_share: float | None = None
    """Reading speed as a share of the 16-bit GGUF's, measured beside it."""
    write_share: float | None = None
    problem: str = ""


def methods(checkpoints: Sequence[str], hybrid: bool = True) -> list[Method]:
    """All rows, the reference first."""
    rows = [Method(name, "transformers") for name in TORCH]
    rows += [Method(name, "llama.cpp") for name in GGUF]
    if hybrid:
        rows.append(Method("Q4_K_M hybrid", "llama.cpp"))
    return rows + [Method(name, "transformers", folder) for name, _, folder in (c.partition("=") for c in checkpoints)]


def open_method(method: Method, model: Path, work: Path, threads: int) -> Stepper:
    """The engine of one row, its file made first where it is missing. Raises BackendError."""
    if method.engine == "llama.cpp":
        from backends.llama.stepper import LlamaOptions, LlamaStepper
        from backends.models.tiers import make_quant

        recipe, _, hybrid = method.name.partition(" ")
        path = model
        if recipe != "F16":
            path = make_quant(model, recipe, work / f"{method.name.replace(' ', '-')}.gguf", hybrid=bool(hybrid))
        return LlamaStepper(path, LlamaOptions(ctx=CTX, batch_size=256, sequences=3, threads=threads))
    from backends.transformers_engine.load import TransformersOptions, open_stepper

    # NVFP4 is unpacked to bfloat16, whatever the rest is stored in.
    stored = "bf16" if "nvfp4" in method.name.lower() else "auto"
    dtype, quant = (stored, "none") if method.folder else TORCH[method.name]
    folder = Path(method.folder) if method.folder else unpacked(model, work)
    options = TransformersOptions(dtype, quant, "cpu", CTX, batch_size=256, sequences=3, threads=threads)
    return open_stepper(folder, options)


def unpacked(model: Path, work: Path) -> Path:
    """The 16-bit GGUF as a folder of safetensors."""
    folder = work / "hf"
    if not (folder / "model.safetensors").exists():
        command = [sys.executable, "-m", "training.unpack", "--gguf", str(model), "--out", str(folder)]
        subprocess.run(command, check=True)
    return folder


# Fidelity -----------------------------------------------------------------------------------------------------------


def conversations(path: Path, limit: int) -> Iterator[list[Message]]:
    """The prompts as conversations."""
    for line in path.read_text(encoding="utf-8").splitlines()[:limit]:
        entry = json.loads(line)
        yield [Message("system", "You are fovea, a small helpful assistant."), Message("user", entry["prompt"])]


def answers(stepper: Stepper, chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Tokens of each prompt and the greedy answer to it."""
    texts = []
    for chat in chats:
        tokens = stepper.chat_prompt(chat)[: CTX - REPLY - 1]
        seq = stepper.open()
        logits = stepper.prefill(seq, tokens)
        for _ in range(REPLY):
            token = int(logits.argmax())
            tokens.append(token)
            if stepper.is_end(token):
                break
            logits = stepper.step([Feed(seq, [token])])[0][0]
        stepper.drop(seq)
        texts.append(tokens)
    return texts


def log_probs(stepper: Stepper, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    """Log-probabilities of the next token at every position, shape ``[tokens, vocabulary]``."""
    seq = stepper.open()
    logits = stepper.step([Feed(seq, tokens, len(tokens))])[0].astype(np.float64)
    stepper.drop(seq)
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


@dataclass(slots=True)
class Comparison:
    """Divergence of one method, text by text."""

    kl: list[npt.NDArray[np.float64]]
    same: list[npt.NDArray[np.float64]]

    @classmethod
    def of(
        cls, stepper: Stepper, texts: Sequence[Sequence[int]], wanted: Sequence[npt.NDArray[np.float32]]
    ) -> Comparison:
        """Read every text and compare."""
        found = cls([], [])
        for tokens, p in zip(texts, wanted, strict=True):
            q = log_probs(stepper, tokens)
            width = min(p.shape[1], q.shape[1])
            kl = (np.exp(p[:, :width].astype(np.float64)) * (p[:, :width] - q[:, :width])).sum(axis=1)
            found.kl.append(np.maximum(kl, 0.0))
            found.same.append((p.argmax(axis=1) == q.argmax(axis=1)).astype(np.float64))
        return found

    def into(self, row: Row) -> Row:
        """The row with means and intervals."""
        kl, kl_half = _mean(self.kl)
        top1, top1_half = _mean(self.same)
        positions = sum(len(part) for part in self.kl)
        return replace(row, kl=kl, kl_half=kl_half, top1=top1, top1_half=top1_half, positions=positions)


def _mean(parts: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Mean over all positions, and half its 95 % interval by resampling texts (positions of one text are not free)."""
    sums, counts = np.array([part.sum() for part in parts]), np.array([len(part) for part in parts])
    draws = np.random.default_rng(0).integers(0, len(parts), (2000, len(parts)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(high - low) / 2


# Speed --------------------------------------------------------------------------------------------------------------


def speeds(stepper: Stepper, base: Stepper, row: Row, read: int, write: int, blocks: int) -> Row:
    """Median speeds, and as a share of the 16-bit GGUF's, measured in turn: other work on the machine hits both."""
    pairs = [(block(stepper, read, write), block(base, read, write)) for _ in range(blocks + 1)][1:]
    reading, writing = ([pair[0][kind] for pair in pairs] for kind in (0, 1))
    shares = [[own[kind] / other[kind] for own, other in pairs] for kind in (0, 1)]
    return replace(
        row,
        read_tok_s=statistics.median(reading),
        write_tok_s=statistics.median(writing),
        read_share=statistics.median(shares[0]),
        write_share=statistics.median(shares[1]),
    )


def block(stepper: Stepper, read: int, write: int) -> tuple[float, float]:
    """Tokens per second of reading ``read`` and then writing ``write`` tokens."""
    tokens = (stepper.tokenize("The keeper wrote down the wind, the ships, the birds and the water. ") * 64)[:read]
    seq = stepper.open()
    start = perf_counter()
    logits = stepper.prefill(seq, tokens)
    middle = perf_counter()
    for _ in range(write):
        logits = stepper.step([Feed(seq, [int(logits.argmax())])])[0][0]
    end = perf_counter()
    stepper.drop(seq)
    return read / (middle - start), write / (end - middle)


# The table ----------------------------------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> list[Row]:
    """All rows, in order; a method that cannot run becomes a row that says why."""
    args.work.mkdir(parents=True, exist_ok=True)
    texts: list[list[int]] = []
    if not args.only_speed:
        writer = open_method(Method("F16", "llama.cpp"), args.model, args.work, args.threads)
        texts = answers(writer, list(conversations(args.prompts, args.limit)))
        writer.close()
    wanted: list[npt.NDArray[np.float32]] = []
    sixteen = Method("F16", "llama.cpp")
    base = None if args.no_speed else open_method(sixteen, args.model, args.work, args.threads)
    rows = []
    for method in methods(args.checkpoint, hybrid=not args.only_speed):
        if args.only and method.name not in args.only.split(",") and (wanted or args.only_speed):
            continue
        try:
            stepper = open_method(method, args.model, args.work, args.threads)
        except BackendError as error:
            rows.append(Row(method.name, method.engine, 0, problem=str(error)))
            continue
        row = Row(method.name, method.engine, stepper.facts.bytes)
        if not args.only_speed:
            if not wanted:
                wanted = [log_probs(stepper, tokens) for tokens in texts]
            row = Comparison.of(stepper, texts, wanted).into(row)
        if base is not None:
            row = speeds(stepper, base, row, args.read, args.write, args.blocks)
        stepper.close()
        rows.append(row)
        print(line(row), flush=True, file=sys.__stdout__)
    return rows


HEAD = (
    "| method | engine | weights | KL to 16-bit, nats | same first choice | reads ÷ F16 | writes ÷ F16 |\n"
    "|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """One line of the markdown table."""
    if row.problem:
        return f"| {row.name} | {row.engine} | – | not run: {row.problem} | | | |"
    kl = "–" if row.kl is None else _figure(row.kl, row.kl_half or 0.0)
    same = "–" if row.top1 is None else f"{100 * row.top1:.2f} ± {100 * (row.top1_half or 0):.2f} %"
    read = "–" if row.read_share is None else f"{row.read_share:.2f} ({row.read_tok_s:.0f}/s)"
    write = "–" if row.write_share is None else f"{row.write_share:.2f} ({row.write_tok_s:.1f}/s)"
    return f"| {row.name} | {row.engine} | {row.bytes / 1e6:.1f} MB | {kl} | {same} | {read} | {write} |"


def _figure(value: float, half: float) -> str:
    """A small number with its interval, two digits of the latter."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 6
    return f"{value:.{min(digits, 7)}f} ± {half:.{min(digits, 7)}f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a 16-bit GGUF that training.unpack can read")
    parser.add_argument("--work", type=Path, required=True, help="folder for the quantized files")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--limit", type=int, default=64, help="prompts to use")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="NAME=FOLDER", help="quantized already")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--read", type=int, default=READ, help="tokens of a timed block of reading")
    parser.add_argument("--write", type=int, default=WRITE, help="tokens of a timed block of writing")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="timed blocks; the median counts")
    parser.add_argument("--only", default="", help="names of methods, with commas (the reference is always run)")
    parser.add_argument("--only-speed", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # GPTQModel prints a banner and its choice of kernels
        rows = measure(args)
    print("\n" + HEAD)
    for row in rows:
        print(line(row))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
