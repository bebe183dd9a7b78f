"""`fovea models pull` from a server on the loopback, and the catalogue."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backends.models.random_gguf import write_random
from tui.commands.models import models

sys.path.insert(0, str(Path(__file__).parents[2] / "backends" / "models"))
from hub import Hub, serve


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))
    content = write_random(tmp_path / "source.gguf").read_bytes()
    found = Hub("owner/Tiny-GGUF", {"Tiny-F16.gguf": content, "Tiny-Q8_0.gguf": content})
    server, address = serve(found)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    yield found
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, list(arguments))


def test_pull_fetches_lists_and_verifies(hub: Hub, tmp_path: Path) -> None:
    result = run("pull", "hf:owner/Tiny-GGUF")
    assert result.exit_code == 0 and "checksum verified" in result.output and "Tiny-F16.gguf, 2.70 MB" in result.output
    assert (tmp_path / "data" / "models" / "owner" / "Tiny-GGUF" / "Tiny-F16.gguf").is_file()
    assert "tiny-f16" in run("list").output


def test_pull_a_named_file_into_a_folder(hub: Hub, tmp_path: Path) -> None:
    arguments = ["hf:owner/Tiny-GGUF/Tiny-Q8_0.gguf", "--folder", str(tmp_path / "x"), "--name", "mine", "--json"]
    result = CliRunner().invoke(models, ["pull", *arguments])
    found = json.loads(result.stdout)
    assert found["name"] == "mine" and Path(found["path"]).parent == tmp_path / "x" / "owner" / "Tiny-GGUF"


def test_pull_failures_are_one_line_and_leave_no_model(hub: Hub, tmp_path: Path) -> None:
    hub.announced["Tiny-F16.gguf"] = "f" * 64
    for what, words in (
        ("hf:owner/Tiny-GGUF", "SHA-256"),
        ("hf:owner/Tiny-GGUF/none.gguf", "has no"),
        ("hf:nobody/nothing", "does not exist"),
        ("nonsense", "not in the catalogue"),
    ):
        result = run("pull", what)
        assert result.exit_code == 1 and words in result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: ") and "Traceback" not in result.output
    assert not list((tmp_path / "data").rglob("*.gguf"))
    assert not (tmp_path / "data" / "models.json").exists()


def test_catalogue() -> None:
    assert "qwen3-0.6b" in run("catalogue").output
    assert len(json.loads(run("catalogue", "--json").output)["models"]) >= 6
