"""Measured figures of one model on one machine, kept in the cache folder as one readable JSON file.

Predictions (seconds of a closer look) and the rule who reads the prompt start from these; without them they start from
the speeds of past replies.
"""

from __future__ import annotations

import itertools
import json
import logging
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.paths import write_atomically

log = logging.getLogger("fovea.measure")

READ_HIGH_FROM = 0.5
"""The high tier reads the prompt unless it reads slower than this share of the low tier's speed."""


@dataclass(frozen=True, slots=True)
class TierFigures:
    """One tier alone. Speeds in tokens per second."""

    bytes: int
    read_tok_s: float
    write_tok_s: float
    steps: dict[int, float] = field(default_factory=dict)
    """Seconds of one step that takes this many tokens at once."""

    def step_s(self, width: float) -> float:
        """Seconds of a step of ``width`` tokens, interpolated; 0 when nothing was measured."""
        known = sorted(self.steps.items())
        if not known:
            return width / self.write_tok_s if self.write_tok_s else 0.0
        for (w0, s0), (w1, s1) in itertools.pairwise(known):
            if width <= w1:
                return s0 + (s1 - s0) * max(width - w0, 0) / (w1 - w0)
        return known[-1][1] * max(width / known[-1][0], 1.0)


@dataclass(frozen=True, slots=True)
class Handover:
    """The low tier's cache of a prompt given to a higher tier, and back. Divergences in nats."""

    low: str
    high: str
    tokens: int
    seconds: float
    """Export, import and cut."""
    first_token_s: float
    """From the decision to the high tier's first token: handover and one step."""
    prefill_s: float
    """What reading the same tokens at the high tier takes."""
    kl_up: float
    """KL(high on its own cache || high on the low tier's cache), mean over the measured positions."""
    kl_down: float
    """KL(high || low on the high tier's cache)."""
    kl_low: float
    """KL(high || low on its own cache): what the two above are to be compared with."""


@dataclass(frozen=True, slots=True)
class LadderFigures:
    """Everything ``fovea bench ladder`` measured."""

    model: str
    """Content key of the highest tier's file."""
    machine: str
    threads: int
    date: str
    tiers: dict[str, TierFigures]
    handovers: tuple[Handover, ...] = ()
    rss: int = 0
    """Resident memory with all tiers loaded, bytes."""

    def reads_high(self, low: str, high: str) -> bool | None:
        """Whether the high tier should read the prompt; ``None`` when one of them was not measured."""
        below, above = self.tiers.get(low), self.tiers.get(high)
        if below is None or above is None or not below.read_tok_s:
            return None
        return above.read_tok_s >= READ_HIGH_FROM * below.read_tok_s


_ADAPTER = TypeAdapter(LadderFigures)


def machine_name() -> str:
    """What these figures hold for: processor, usable cores, version and build of the engine library."""
    from importlib.metadata import PackageNotFoundError, version

    from backends.llama.build import prefetches
    from backends.threads import usable_cores

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    try:
        engine = version("llama-cpp-python")
    except PackageNotFoundError:
        engine = "?"
    built = ", prefetching" if prefetches() else ""
    return f"{name}, {usable_cores()} cores, llama-cpp-python {engine}{built}"


def file_of(cache: Path, key: str) -> Path:
    """Where the figures of a model lie."""
    return cache / "figures" / f"{key}.json"


def save(cache: Path, figures: LadderFigures) -> Path:
    """Write the figures atomically; returns the file. Raises StorageError."""
    path = file_of(cache, figures.model)
    write_atomically(path, json.dumps(asdict(figures), indent=2) + "\n")
    return path


def load(cache: Path, key: str) -> LadderFigures | None:
    """The figures of a model on *this* machine; ``None`` when there are none, or they are another machine's."""
    path = file_of(cache, key)
    try:
        raw: Any = json.loads(path.read_text("utf-8"))
        figures = _ADAPTER.validate_python(raw)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        log.warning("%s is not used: %s", path, error)
        return None
    return figures if figures.machine == machine_name() else None
