from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import agent.app
from backends.scripted import Script, ScriptedEngine
from backends.types import LadderSpec
from tui.main import run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of this test alone."""
    for name in ("data", "config", "cache"):
        monkeypatch.setenv(f"FOVEA_{name.upper()}", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    """The engine every command of this test opens."""
    scripted = ScriptedEngine()
    monkeypatch.setattr(agent.app, "_host", lambda *parts: scripted)
    monkeypatch.setattr(agent.app.ladders, "build", lambda *parts: LadderSpec(()))
    return scripted


@pytest.fixture
def fovea(home: Path, engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def call(*arguments: str, scripts: tuple[Script | str, ...] = ()) -> tuple[int, str, str]:
        engine.add(*scripts)
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return call
