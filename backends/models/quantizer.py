"""Runs the quantizer in a child process and watches it.

llama.cpp's quantizer writes to the terminal, may abort the process, and cannot be interrupted; as a child it can do all
of that without harm (``child``). This module knows nothing of tiers or caches: one source, one target, one recipe.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from backends.errors import TierError
from backends.models.child import run_child
from backends.models.gguf_header import shown

Progress = Callable[[float], None]
"""Called with the share done, 0..1."""

_LINE = re.compile(r"\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")
_CHILD = Path(__file__).with_name("quantize_child.py")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What the quantizer is asked for. Type numbers as in ``gguf_types``."""

    source: str
    target: str
    ftype: int
    embedding_type: int | None = None
    output_type: int | None = None
    threads: int = 0
    """0: as many as the machine has cores."""
    requantize: bool = False
    imatrix: str | None = None


def run(job: Job, sizes: Mapping[str, int], progress: Progress | None = None) -> None:
    """Quantize; ``sizes`` (tensor name -> bytes) weighs the progress. Stopping (Ctrl-C) kills the child.

    Raises:
        TierError: the quantizer refused or ended early; its own last words are in the text.
    """
    last: deque[str] = deque(maxlen=40)
    total = sum(sizes.values()) or 1
    done = 0

    def watch(line: str) -> None:
        nonlocal done
        last.append(line)
        _log.debug("%s", line)
        match = _LINE.search(line)
        if match and progress:
            done += sizes.get(match[3], 0)
            progress(min(done / total, 1.0))

    code = run_child(_CHILD, asdict(job) | {"threads": job.threads or os.cpu_count() or 1}, watch)
    if code != 0:
        raise TierError(f"{shown(Path(job.source))} could not be quantized: {_reason(last, code)}")


def _reason(last: deque[str], code: int) -> str:
    """One line out of what the quantizer said last."""
    for line in reversed(last):
        if "failed to quantize:" in line:
            reason = line.split("failed to quantize:", 1)[1].strip()
            if "iostream error" in reason or "basic_ios" in reason:
                return "the result could not be written; is the disk full?"
            return reason.encode("ascii", "backslashreplace").decode()[:200]
    if code < 0:
        return f"the quantizer was ended by signal {-code} (out of memory?); the log has its messages"
    return f"the quantizer ended with code {code}; the log has its messages"
