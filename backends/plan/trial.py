"""Trying a ladder for real: load it in a child process, measure its peak, and remember the figure.

Estimates are shown, never used to refuse; this is how they are checked. A trial that fails (the kernel ended it, the
engine refused) says so, and the caller offers the next smaller ladder.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.errors import LoadError
from backends.models.gguf_types import NUMBER
from backends.plan.estimate import Run

_CHILD = Path(__file__).with_name("trial_child.py")
_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one tier took."""

    prompt: int
    """Tokens read."""
    read_s: float
    writes: int
    """Tokens then written one by one."""
    write_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one trial took. Bytes."""

    interpreter: int
    """Resident before any model."""
    loaded: int
    """Resident with all tiers loaded."""
    peak: int
    """Highest resident memory of the whole trial."""
    buffers: tuple[tuple[str, str, int], ...]
    """llama.cpp's own account: (where, what, bytes)."""
    timing: tuple[Timing, ...]
    """One for each tier."""


def measure(
    paths: Sequence[Path], run: Run, *, parallel: int = 4, prompt: int = 512, n_gpu_layers: int = 0
) -> Measured:
    """Load these files together, work with each, and report the peak.

    Args:
        paths: the tiers' files, low to high.
        run: how to run them.
        parallel: continuations written at once.
        prompt: tokens read first (cut to what fits).
        n_gpu_layers: layers on the graphics card.

    Raises:
        LoadError: the trial ended without a result; its reason is in the text.
    """
    job = {
        "paths": [str(path) for path in paths],
        "ctx": run.ctx,
        "batch": run.batch,
        "sequences": run.sequences,
        "parallel": min(parallel, run.sequences),
        "prompt": prompt,
        "cache_type": NUMBER[run.cache_type],
        "full_window": run.full_window,
        "n_gpu_layers": n_gpu_layers,
    }
    child = subprocess.run(
        [sys.executable, "-P", str(_CHILD)],
        input=(json.dumps(job) + "\n").encode(),
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if child.returncode != 0:
        raise LoadError(_reason(child.returncode, child.stderr.decode("utf-8", "replace")))
    found = json.loads(child.stdout)
    return Measured(
        interpreter=found["interpreter"]["resident"],
        loaded=found["loaded"]["resident"],
        peak=found["worked"]["peak"],
        buffers=tuple((entry["where"], entry["what"], entry["bytes"]) for entry in found["buffers"]),
        timing=tuple(
            Timing(int(part["prompt"]), part["read_s"], int(part["writes"]), part["write_s"])
            for part in found["timing"]
        ),
    )


def _reason(code: int, said: str) -> str:
    if code == -9:
        return "the system ended the trial: there was not enough memory"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"it ended with code {code}"
    return f"the trial failed: {last.encode('ascii', 'backslashreplace').decode()[:200]}"


# Remembering --------------------------------------------------------------------------------------------------------


def key_of(content_keys: Sequence[str], run: Run) -> str:
    """Under which a measured ladder is remembered."""
    return "/".join([*content_keys, str(run.ctx), str(run.batch), str(run.sequences), run.cache_type])


def remember(memory: Path, key: str, predicted: int, measured: int) -> None:
    """Keep a measured peak beside its prediction; a folder that cannot be written only costs the memory.

    Call it with what the engine host reports (``LadderStatus.rss``) as well: real use is the best trial.
    """
    known = recall(memory)
    known[key] = {"predicted": predicted, "measured": measured, "at": int(time.time())}
    temporary = memory.with_name(f".{memory.name}.new")
    try:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
        temporary.replace(memory)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def recall(memory: Path) -> dict[str, dict[str, Any]]:
    """All remembered figures; empty where there are none or the file is damaged."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, dict) and "measured" in value}
