"""GPTQ, AWQ and AutoRound: quantizations that are fitted to a text, made by their own libraries in a child process.

The libraries print, patch transformers and keep threads; in a child they can. Both run on a CPU as well as on a card.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections import deque
from importlib.util import find_spec
from pathlib import Path

from backends.errors import TierError
from backends.models.child import run_child
from backends.models.quantizer import Progress
from backends.transformers_engine.load import OFFLINE

PACKAGES = {
    "gptq": ("gptqmodel", "gptqmodel"),
    "awq": ("gptqmodel", "gptqmodel"),
    "autoround": ("auto_round", "autoround"),
}
"""Method -> (the module that makes it, the extra of fovea that brings it)."""
CHUNKS, LENGTH = 128, 512
"""Tokens of the calibration text that are read: at most 65,536."""

_CHILD = Path(__file__).with_name("calibrated_child.py")
_LAYER = re.compile(r"\blayers?[. ](\d+)\b")
_log = logging.getLogger(__name__)


def check_calibrated(method: str, text: Path | None) -> Path:
    """The calibration text, once everything that making ``method`` needs is there. Raises TierError that names it."""
    module, extra = PACKAGES[method]
    if find_spec(module) is None:
        raise TierError(
            f"{method} is made by {module.replace('_', '-')}, which is not installed: pip install "
            f"'fovea-agent[{extra}]' (best in an environment of its own: it has its own wishes about versions)"
        )
    if text is None:
        raise TierError(
            f"{method} is fitted to a text: give one with --calibration FILE, like what the model will read"
        )
    if not text.is_file():
        raise TierError(f"{text}: no such file; --calibration wants a text")
    return text


def make_calibrated(
    source: Path, method: str, text: Path, target: Path, progress: Progress | None = None, *, iterations: int = 0
) -> None:
    """Quantize a folder of safetensors to 4 bits.

    Args:
        source: the folder with 16-bit weights.
        method: a key of ``PACKAGES``.
        text: calibration text.
        target: the folder to write; must not exist.
        progress: called with the share done, 0..1.
        iterations: rounds of tuning for each layer, autoround only; 0: the library's own number.

    Raises:
        TierError: the library refused or ended early; its own last words are in the text.
    """
    layers = _layers(source)
    last: deque[str] = deque(maxlen=40)

    def watch(line: str) -> None:
        last.append(line)
        _log.debug("%s", line)
        match = _LAYER.search(line)
        if match and progress and layers:
            progress(min(int(match[1]) / layers, 1.0))

    job = {
        "method": method,
        "source": str(source.resolve()),
        "target": str(target.resolve()),
        "text": str(text.resolve()),
    }
    limits: dict[str, object] = {"chunks": CHUNKS, "length": LENGTH, "iterations": iterations}
    # GPTQModel 7.6 on two cores takes one worker and then asks for two.
    workers = {"GPTQMODEL_CPU_WORKERS": str(max(2, (os.cpu_count() or 2) // 2))}
    with tempfile.TemporaryDirectory(prefix="fovea-") as room:  # GPTQModel writes logs into the folder it works in
        code = run_child(_CHILD, {**job, **limits}, watch, environment={**OFFLINE, **workers}, folder=Path(room))
    if code != 0:
        raise TierError(f"{source} could not be quantized to {method}: {_reason(last, code)}")


def _layers(source: Path) -> int:
    """Layers of the model, for the progress; 0 where the config does not tell."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    number = config.get("num_hidden_layers") or (config.get("text_config") or {}).get("num_hidden_layers")
    return number if isinstance(number, int) else 0


def _reason(last: deque[str], code: int) -> str:
    """One line out of what the child said last."""
    for line in reversed(last):
        if line.startswith("failed: "):
            return line.removeprefix("failed: ").encode("ascii", "backslashreplace").decode()[:300]
    if code < 0:
        return f"it was ended by signal {-code} (out of memory?); the log has its messages"
    return f"it ended with code {code}; the log has its messages"
