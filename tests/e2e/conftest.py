"""The real program with a real (random) model: complete but tiny, so that every test takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backends.models.random_gguf import Shape, write_random

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-bit model of random weights that never ends a reply by itself."""
    return write_random(tmp_path_factory.mktemp("model") / "random.gguf", Shape(layers=4, context=16_384), endless=True)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiers are made once for all tests."""
    return tmp_path_factory.mktemp("cache")


class Program:
    """Starts `fovea` in its own folders."""

    def __init__(self, home: Path, model: Path, cache: Path) -> None:
        self.home = home
        self.data = home / "data"
        self.model = model
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("FOVEA_")},
            "FOVEA_DATA": str(self.data),
            "FOVEA_CONFIG": str(home / "config"),
            "FOVEA_CACHE": str(cache),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "TERM": "xterm-256color",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tui.main", *arguments]

    def options(self, tokens: int = 40) -> list[str]:
        # One thread: several engines at once on a small machine would spend their time waiting for each other.
        one = ["--set", "engine.threads=1"]
        return ["--model", str(self.model), "--max-tokens", str(tokens), "--seed", "1", "--policy", "manual", *one]

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*arguments), env=self.env, input=stdin, capture_output=True, timeout=timeout, check=False
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def hosts(self) -> list[psutil.Process]:
        """Engine hosts of this test that live (or are zombies)."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                is_host = "backends.host.child" in (process.info["cmdline"] or [])
                if is_host and process.environ().get("FOVEA_DATA") == str(self.data):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def program(tmp_path: Path, model: Path, cache: Path) -> Iterator[Program]:
    made = Program(tmp_path, model, cache)
    yield made
    for process in made.hosts():
        process.kill()


Started = Callable[..., Program]
