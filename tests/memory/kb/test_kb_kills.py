from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_eight_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """The short version of ``bench/kb_kills.py``; the long one is run for the figures in the documentation."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "bench.kb_kills", "--kills", "8", "--documents", "25", "--no-chroma"]
    done = subprocess.run([*command, "--json", str(report)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(report.read_text(encoding="utf-8"))
    # How many of them hit the middle of an operation depends on the machine, so that is not asserted.
    assert found["kills"] == 8 and found["wrong"] == []
