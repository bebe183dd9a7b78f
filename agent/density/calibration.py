"""The calibration file: one density model for one pair of tiers, small enough to read.

It names the content of both tier files. Where a loaded ladder holds other files, it is not used, and the reason is
said: a gate learned at one bit width does not carry to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.density.thresholds import NEVER, interpolated
from agent.errors import SettingsError
from agent.paths import write_atomically
from backends.errors import ModelFileError
from backends.gate import SIGNALS
from backends.types import Gate, LadderStatus

VERSION = 1


@dataclass(frozen=True, slots=True)
class SignalTried:
    """A signal that was tried beside the margin."""

    signal: str
    gain: float
    """Forks caught more (0..1), mean over the compared budgets, on prompts it was not fitted on."""
    low: float
    high: float
    """95 % interval of the gain."""
    kept: bool


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Figures on prompts that neither weights nor thresholds have seen."""

    prompts: int
    tokens: int
    forks: int
    auroc: float
    caught: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Budget ("10%") to the share of forks caught, with its interval."""
    caught_default: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """The same for the default rule (the margin alone)."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Budget to the share of tokens really spent (0..1): gated replies where they were run, else played."""
    spent_within: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Budget to the 95 % interval of ``spent`` over prompts; empty where the gate was only played."""
    ran: bool = False
    """Whether ``spent`` comes from gated replies that were really written."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted density model."""

    model: str
    """Name of the model, for people."""
    low: str
    high: str
    files: Mapping[str, str]
    """Tier name to the content key of its file."""
    weights: Mapping[str, float]
    thresholds: tuple[tuple[float, float], ...]
    """(budget, threshold), budgets rising."""
    turn_thresholds: tuple[tuple[float, float], ...] = ()
    """(share of turns, mean density of a reply) for closer looks at whole turns."""
    budget: float = 0.2
    held_out: HeldOut | None = None
    tried: tuple[SignalTried, ...] = ()
    picks: Mapping[str, float] = field(default_factory=dict)
    """Weights (with ``bias``) over the features of a reply, fitted from a person's picks; empty without them."""
    source: str = ""
    date: str = ""
    note: str = ""
    version: int = VERSION

    def threshold(self, budget: float) -> float:
        """The gate's threshold for a share of tokens."""
        return interpolated(self.thresholds, budget)

    def turn_threshold(self, budget: float) -> float:
        """The mean density from which on a reply belongs to the densest ``budget`` share of turns."""
        return interpolated(self.turn_thresholds, budget) if self.turn_thresholds else NEVER

    def gate(self, budget: float) -> Gate:
        """What the engine gets."""
        return Gate(self.threshold(budget), dict(self.weights))

    def mismatch(self, ladder: LadderStatus, low: str, high: str) -> str:
        """Why it cannot be used for this pair of tiers; empty when it can."""
        if (low, high) != (self.low, self.high):
            return f"it was made for {self.low} → {self.high}, not for {low} → {high}"
        paths = {tier.name: tier.path for tier in ladder.tiers}
        for tier in (low, high):
            if tier not in paths or file_key(paths[tier]) != self.files.get(tier):
                return f"it was made for another {tier} file"
        return ""


_ADAPTER = TypeAdapter(Calibration)


def save(calibration: Calibration, path: Path) -> None:
    """Write the file atomically. Raises StorageError."""
    write_atomically(path, json.dumps(asdict(calibration), indent=2, ensure_ascii=False) + "\n")


def load(path: Path) -> Calibration:
    """Read a calibration. Raises SettingsError with what to do about it."""
    try:
        found = _ADAPTER.validate_python(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise SettingsError(f"policy.calibration: {path} is not there; run `fovea calibrate` or unset it") from error
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(f"policy.calibration: {path} is not a calibration ({reason}); run `fovea calibrate`") from (
            error
        )
    unknown = set(found.weights) - {*SIGNALS, "bias"}
    if found.version != VERSION or unknown:
        what = f"unknown signals {', '.join(sorted(unknown))}" if unknown else f"version {found.version}"
        raise SettingsError(f"policy.calibration: {path} was made by another fovea ({what}); run `fovea calibrate`")
    return found


def place(cache: Path, files: Sequence[str]) -> Path:
    """Where a calibration of these tier files is kept."""
    return cache / "calibrations" / ("-".join(key[:12] for key in files) + ".json")


def file_key(path: Path) -> str:
    """A key that changes with the content of a tier's file (or folder)."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return _file_key(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _file_key(name: str, _mtime: int, size: int) -> str:
    from backends.models.gguf_file import read_model
    from backends.models.identity import content_key

    path = Path(name)
    if path.is_dir():
        parts = sorted((part.name, part.stat().st_size) for part in path.iterdir() if part.is_file())
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    try:
        return content_key(read_model(path))
    except (ModelFileError, OSError):
        return hashlib.sha256(f"{path.name}/{size}".encode()).hexdigest()[:16]


def as_dict(calibration: Calibration) -> dict[str, Any]:
    """Plain data."""
    return asdict(calibration)
