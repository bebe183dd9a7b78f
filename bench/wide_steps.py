"""What a step of several tokens costs, for several files of one model side by side.

    python -m bench.wide_steps FILE [FILE …] [--widths 1,2,4,6,8,12,18] [--threads 2]

A closer look and the judging of drafts are such steps: their cost beside a step of one token decides what both gain.
The files take turns width by width, because the speed of a machine drifts by more than they differ. Prints one row a
file: milliseconds (the median) and times the file's own step of one token.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from statistics import median
from time import perf_counter

from backends.llama.stepper import LlamaOptions, LlamaStepper
from backends.stepper import Feed

PROMPT, FIRST = 100, 10
"""Tokens in the cache before each step, and the first token id used: which ones they are does not matter."""


def measure(paths: list[Path], widths: list[int], threads: int, repeats: int) -> list[dict[int, float]]:
    """Seconds of a step of each width, for each file."""
    options = LlamaOptions(ctx=1024, threads=threads)
    found: list[dict[int, list[float]]] = [{width: [] for width in widths} for _ in paths]
    with contextlib.ExitStack() as stack:
        opened = []
        for path in paths:
            stepper = LlamaStepper(path, options)
            stack.callback(stepper.close)
            seq = stepper.open()
            stepper.prefill(seq, range(FIRST, FIRST + PROMPT))
            opened.append((stepper, seq))
        for _ in range(repeats):
            for width in widths:
                for (stepper, seq), seconds in zip(opened, found, strict=True):
                    start = perf_counter()
                    stepper.step([Feed(seq, range(FIRST, FIRST + width), width)])
                    seconds[width].append(perf_counter() - start)
                    stepper.truncate(seq, PROMPT)
    return [{width: median(values) for width, values in seconds.items()} for seconds in found]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--widths", default="1,2,4,6,8,12,18")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    widths = [int(width) for width in arguments.widths.split(",")]
    if 1 not in widths:
        widths.insert(0, 1)
    for path, seconds in zip(
        arguments.files, measure(arguments.files, widths, arguments.threads, arguments.repeats), strict=True
    ):
        row = "  ".join(f"{width}: {1000 * took:.1f} ms x{took / seconds[1]:.2f}" for width, took in seconds.items())
        print(f"{path.name}  {row}")


if __name__ == "__main__":
    main()
