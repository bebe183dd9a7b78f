"""`fovea bench context` on a tiny model: figures, chart, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.models.random_gguf import write_random
from tui.commands.bench_context import context


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))


def test_figures_and_chart(tmp_path: Path) -> None:
    model = write_random(tmp_path / "tiny.gguf")
    arguments = ["--model", str(model), "--ctx", "512,9999", "--batch-size", "64", "--out", str(tmp_path / "curve")]
    result = CliRunner().invoke(context, [*arguments, "--tier", "16-bit"])
    assert result.exit_code == 0, result.output
    assert "left out: ctx [9999]" in result.stderr
    (point,) = json.loads((tmp_path / "curve.json").read_text())["points"]
    assert (point["ctx"], point["batch"]) == (512, 64) and 200 < point["prompt"] < 512
    assert point["read_tok_s"] > point["write_tok_s"] > 0 and point["first_token_s"] > 0
    assert point["peak"] == pytest.approx(point["predicted"], rel=0.05, abs=100e6)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_left_is_said(tmp_path: Path) -> None:
    model = write_random(tmp_path / "tiny.gguf")
    result = CliRunner().invoke(context, ["--model", str(model), "--ctx", "9999", "--tier", "16-bit"])
    assert result.exit_code == 1 and "trained for 512" in result.output
    assert CliRunner().invoke(context, ["--ctx", "many"]).exit_code == 2
