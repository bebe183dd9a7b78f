"""How many forks a gate can catch on top of each low tier: the table of docs/precision.md.

    python -m bench.low_tiers --model pocket --texts FILE.jsonl --calibration FILE.txt --work build/low

Every low tier and 16 bits read the same texts (``--texts``; no model here was trained on them), teacher-forced. A gate
on the margin alone then takes the tokens with the smallest margins up to each budget. ``--calibration`` is another
text, for the importance matrix. Intervals are resampled over documents.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.calibrate.texts import Passage, passages, read_texts
from agent.density.labels import Example, by_prompt
from agent.measure.frontier.local import LocalEngine
from agent.measure.frontier.points import reading
from agent.measure.ladder import open_with
from agent.measure.stats import share
from backends.gate import SIGNALS
from backends.models.gguf_file import read_model
from backends.models.imatrix import ensure_imatrix
from backends.models.tiers import make_quant
from backends.types import LadderSpec, TierSpec
from bench.frontier_tables import markdown
from tui.commands.model_tools import cache_folder, resolve

CTX = 2048


@dataclass(frozen=True, slots=True)
class Low:
    """One low tier: how it is made."""

    recipe: str
    imatrix: bool = False
    hybrid: bool = False

    @property
    def name(self) -> str:
        """As the table says it."""
        parts = [self.recipe, *["importance matrix"] * self.imatrix, *["16-bit embeddings and head"] * self.hybrid]
        return ", ".join(parts)


LOWS = (
    Low("Q3_K_M"), Low("Q4_0"), Low("Q4_K_M"), Low("Q4_K_M", imatrix=True), Low("Q4_K_M", imatrix=True, hybrid=True),
    Low("Q5_K_M"), Low("Q6_K"), Low("Q8_0"),
)  # fmt: skip


def read(low: Path, high: Path, texts: Sequence[Passage]) -> list[Example]:
    """The texts as both tiers read them."""
    engine = LocalEngine(open_with)
    try:
        engine.load(LadderSpec((TierSpec("low", low), TierSpec("high", high)), ctx=CTX, n_parallel=1, threads=2))
        return read_texts(engine, texts, "low", "high")
    finally:
        engine.close()


def row(name: str, examples: Sequence[Example]) -> list[str]:
    """Forks, divergence, and what the margin catches at each budget."""
    margins = [-example.features[:, SIGNALS.index("margin")] for example in examples]
    margin = reading("texts", {"margin": margins}, examples).routers[0]
    units = by_prompt(examples, [example.forks for example in examples])
    forks = share([float(unit.sum()) for unit in units], [len(unit) for unit in units])
    divergence = float(np.concatenate([example.kl for example in examples]).mean())
    caught = " / ".join(f"{100 * found.value:.0f}" for found in margin.caught.values())
    percent = f"{100 * forks.value:.1f} [{100 * forks.low:.1f}, {100 * forks.high:.1f}]"
    return [name, percent, f"{divergence:.2g}", caught]


def main() -> None:
    """Make the tiers, read, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--most", type=int, default=60, help="texts read (default %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="where the tiers are kept")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    high: Path = resolve(arguments.model)
    matrix = ensure_imatrix(high, arguments.calibration, cache_folder(), None)
    texts = passages(arguments.texts)[: arguments.most]
    rows = []
    for low in LOWS:
        path = arguments.work / f"{low.name.replace(', ', '-').replace(' ', '-')}.gguf"
        if not path.exists():
            make_quant(high, low.recipe, path, None, hybrid=low.hybrid, imatrix=matrix if low.imatrix else None)
        examples = read(read_model(path).path, high, texts)
        rows.append(row(low.name, examples))
        print(rows[-1], flush=True)
    tokens = sum(len(example) for example in examples)
    print(f"\n{len(texts)} texts, {tokens:,} tokens\n")
    print(markdown([["low tier", "forks, %", "KL to 16 bits", "caught at 5 / 10 / 20 / 30 %, %"], *rows]))


if __name__ == "__main__":
    main()
