"""What the commands about model files share: folders, names, errors as one line, progress, plain tables."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from agent import paths, settings_file
from agent.errors import AgentError
from agent.paths import Folders
from agent.settings import Settings
from backends.errors import BackendError

P = ParamSpec("P")
R = TypeVar("R")


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of the lower rooms into one line and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (BackendError, AgentError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


def data_folder() -> Path:
    """The data folder of the settings."""
    return _folders().data


def cache_folder() -> Path:
    """The cache folder of the settings."""
    return _folders().cache


def _folders() -> Folders:
    settings = load_settings()
    return paths.find(settings.folders.data, settings.folders.cache)


def load_settings() -> Settings:
    """The settings file as it is now."""
    return settings_file.load(paths.find().settings)


def resolve(model: str) -> Path:
    """The file a name of the collection or a path means; ``pocket`` is the built-in model."""
    from backends.models.collection import Collection

    if model == "pocket":
        built_in = pocket_file()
        if built_in is not None:
            return built_in
    return Collection(data_folder()).resolve(model)


def pocket_file() -> Path | None:
    """The built-in model, where this installation has it."""
    from backends import pocket

    try:
        return pocket.path()
    except FileNotFoundError:
        return None


def say_json(value: object) -> None:
    """One JSON value on standard output. ASCII only, so foreign text cannot reach the terminal."""
    click.echo(json.dumps(value, indent=2))


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Rows (the first is the heading) as aligned columns; ``right`` names right-aligned ones."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(w) if at in right else cell.ljust(w)
            for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes for people: ``1.27 GB``, ``380 MB`` (powers of ten, as file managers and shops count)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            digits = 2 if count / scale < 10 else 1 if count / scale < 100 else 0
            return f"{count / scale:.{digits}f} {unit}"
    return f"{count:.0f} B"


class Bar:
    """A progress line on standard error: only where that is a terminal, and gone when it is done."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = -1
        self._live = sys.stderr.isatty()

    def __call__(self, done: float) -> None:
        """Show the share done, 0..1."""
        percent = int(100 * done)
        if self._live and percent != self._shown:
            self._shown = percent
            filled = percent * 24 // 100
            click.echo(f"\r{self._label}  [{'#' * filled}{'.' * (24 - filled)}] {percent:3d} %", nl=False, err=True)

    def close(self) -> None:
        """Clear the line."""
        if self._live and self._shown >= 0:
            click.echo("\r" + " " * (len(self._label) + 36) + "\r", nl=False, err=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
