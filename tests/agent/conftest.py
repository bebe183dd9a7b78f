from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.app import Fovea
from agent.paths import Folders
from agent.recall import Memory, NullMemory
from agent.settings import Settings
from backends.scripted import Script, ScriptedEngine


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "data", tmp_path / "config", tmp_path / "cache")


Open = Callable[..., Fovea]


@pytest.fixture
def open_fovea(folders: Folders) -> Iterator[Open]:
    """Open a Fovea on a scripted engine; closed at the end of the test."""
    opened: list[Fovea] = []

    def make(
        *scripts: Script | str, engine: ScriptedEngine | None = None, memory: Memory | None = None, **values: object
    ) -> Fovea:
        changes = {key.replace("__", "."): value for key, value in values.items()}
        settings = Settings().with_values({"policy.mode": "manual", **changes})
        fovea = Fovea.open(
            settings, engine=engine or ScriptedEngine(scripts), memory=memory or NullMemory(), folders=folders
        )
        opened.append(fovea)
        return fovea

    yield make
    for fovea in opened:
        fovea.close()
