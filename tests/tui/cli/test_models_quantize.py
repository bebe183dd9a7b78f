"""`fovea models quantize`: formats, hybrid, importance matrices, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from backends.errors import TierError
from backends.models.gguf_file import read_model
from backends.models.imatrix import ensure_imatrix
from backends.models.random_gguf import write_random
from backends.models.shape import Shape
from tui.commands.models import models


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_random(tmp_path / "Tiny-F16.gguf", Shape(layers=1))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("The quick brown fox jumps over the lazy dog. " * 40)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(models, ["quantize", *map(str, arguments)])


def test_it_writes_beside_the_model_and_never_over_it(tiny: Path) -> None:
    before = tiny.read_bytes()
    result = run(tiny, "--to", "q6_k")
    assert result.exit_code == 0 and "without an importance matrix" in result.output
    made = tiny.with_name("Tiny-Q6_K.gguf")
    assert read_model(made).recipe == "Q6_K"
    again = run(tiny, "--to", "q6_k")
    assert again.exit_code == 1 and "--force" in again.output
    assert run(tiny, "--to", "q6_k", "--force").exit_code == 0
    assert run(tiny, "--to", "q8_0", "--output", tiny, "--force").exit_code == 1
    assert tiny.read_bytes() == before


def test_hybrid_and_json(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "h.gguf"
    found = json.loads(run(tiny, "--to", "q4_k_m", "--hybrid", "--output", target, "--json").output)
    assert list(target.parent.iterdir()) == [target], "nothing is left beside it"
    kinds = {tensor.name: tensor.kind.name for tensor in read_model(Path(found["path"])).tensors}
    assert kinds["output.weight"] == "F16" and kinds["blk.0.attn_q.weight"] == "Q4_K"


def test_calibration_changes_the_weights(tiny: Path, text: Path, tmp_path: Path) -> None:
    plain, weighed = tmp_path / "plain.gguf", tmp_path / "weighed.gguf"
    assert run(tiny, "--to", "q3_k_m", "--output", plain).exit_code == 0
    result = run(tiny, "--to", "q3_k_m", "--output", weighed, "--calibration", text)
    assert result.exit_code == 0 and "with an importance matrix" in result.output
    assert plain.read_bytes()[-50_000:] != weighed.read_bytes()[-50_000:]


def test_the_smallest_formats_need_a_calibration(tiny: Path, text: Path, tmp_path: Path) -> None:
    refused = run(tiny, "--to", "q2_k_s")
    assert refused.exit_code == 1 and "--calibration" in refused.output
    assert run(tiny, "--to", "q2_k_s", "--calibration", text).exit_code == 0


def test_what_cannot_be_done_is_one_line(tiny: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too short")
    for arguments, words in (
        ((tiny, "--to", "q9_z"), "not a tier or a quantization"),
        ((tiny, "--to", "q4_k_m", "--calibration", short), "at least 512 are needed"),
        ((tiny, "--to", "q4_k_m", "--calibration", tmp_path / "none.txt"), "cannot be read"),
        ((tmp_path / "none.gguf", "--to", "q4_k_m"), "no such file"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and words in result.output and result.output.count("\n") == 1


def test_the_matrix_holds_the_mean_squares_of_the_inputs(tiny: Path, text: Path, tmp_path: Path) -> None:
    path = ensure_imatrix(tiny, text, tmp_path, chunks=1)
    with np.load(path) as matrix:
        # The norm's weights are ones, so the squares behind it have the mean 1.
        assert matrix["blk.0.attn_q.weight"].shape == (256,)
        assert matrix["blk.0.attn_q.weight"].mean() == pytest.approx(1.0, abs=0.02)
        assert np.array_equal(matrix["blk.0.attn_q.weight"], matrix["blk.0.attn_k.weight"])
    assert ensure_imatrix(tiny, text, tmp_path, chunks=1) == path


def test_every_expert_has_its_own_row(text: Path, tmp_path: Path) -> None:
    model = write_random(tmp_path / "experts.gguf", Shape(layers=1, experts=4))
    with np.load(ensure_imatrix(model, text, tmp_path, chunks=1)) as matrix:
        up = matrix["blk.0.ffn_up_exps.weight"].reshape(4, 256)
        assert up.mean(axis=1) == pytest.approx(1.0, abs=0.1)
        assert matrix["blk.0.ffn_down_exps.weight"].shape == (4 * 512,)


def test_a_child_that_dies_is_said(tiny: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text("import os; os.abort()")
    monkeypatch.setattr("backends.models.imatrix._CHILD", child)
    with pytest.raises(TierError, match="code -6"):
        ensure_imatrix(tiny, text, tmp_path)
    assert not list((tmp_path / "imatrix").rglob("*.npz*"))
