"""What commands share: settings with flags applied, an opened Fovea, stopping with Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.session import Session
    from agent.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
INPUT_CODE = 4

FLAGS: tuple[tuple[str, str, Any, str], ...] = (
    ("--model", "model", str, "`pocket`, a name of the list, a GGUF file, or a folder of safetensors."),
    ("--tier", "tier", str, "The tier that speaks: 4-bit, 8-bit or 16-bit."),
    ("--max-tokens", "sampling.max_tokens", int, "Longest reply in tokens."),
    ("--temperature", "sampling.temperature", float, "0 always takes the likeliest token."),
    ("--seed", "sampling.seed", int, "Same seed, same text."),
    ("--policy", "policy.mode", str, "Who decides a closer look: auto, ask, manual or off."),
    ("--scope", "policy.scope", str, "What a closer look covers: turn or span."),
    ("--budget", "policy.budget", str, "Share of tokens for closer looks: 0.2 or 20%."),
    ("--ctx", "engine.ctx", int, "Context in tokens; 0 means as the model was made for."),
    ("--batch-size", "engine.batch_size", int, "Tokens read at once."),
    ("--n-parallel", "engine.n_parallel", int, "Continuations that can be written at once."),
)
"""(flag, setting, type, help): the common settings; every other one is reached with --set."""
ALIASES = {"--ctx": ("--ctx-size",), "--batch-size": ("--batch_size",)}
"""Other names of these flags; what is rarer is in ``tui.old_flags``."""


class InputError(click.ClickException):
    """What was given cannot be used as a message."""

    exit_code = INPUT_CODE


def with_settings(command: F) -> F:
    """Give a command the flags of settings; it gets them as the argument ``settings``."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        assignments = values.pop("assignments")
        named = {key: values.pop(_argument(flag)) for flag, key, _, _ in FLAGS}
        return command(settings=settings_from(named, assignments), **values)

    decorated: Any = wrapped
    decorated = click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting for this run; may be repeated."
    )(decorated)
    for flag, key, kind, text in reversed(FLAGS):
        names = (flag, *ALIASES.get(flag, ()), _argument(flag))
        decorated = click.option(*names, type=kind, default=None, help=f"{text} [{key}]")(decorated)
    result: F = decorated
    return result


def _argument(flag: str) -> str:
    return "flag_" + flag.removeprefix("--").replace("-", "_")


def settings_from(named: dict[str, Any], assignments: tuple[str, ...] = ()) -> Settings:
    """The settings file with flags applied, and the log started.

    Raises:
        SettingsError: The file, a flag or an assignment is wrong.
    """
    from agent import logs, paths, settings_file

    settings = settings_file.load(paths.find().settings)
    changes = dict(settings_file.parse_assignment(text) for text in assignments)
    changes |= {key: value for key, value in named.items() if value is not None}
    settings = settings.with_values(changes)
    folders = paths.find(settings.folders.data, settings.folders.cache)
    logs.start(folders.log, settings.log_level)
    return settings


def confirm(question: str, yes: bool) -> None:
    """Ask; without a terminal to ask on nothing is done.

    Raises:
        click.ClickException: There is nobody to ask.
        click.exceptions.Exit: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.ClickException("There is nobody to ask here; say --yes to do it without asking.")
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)


@contextlib.contextmanager
def opened(settings: Settings, *, unsaved: bool = False) -> Iterator[Fovea]:
    """An opened Fovea whose preparation of tiers shows on the terminal."""
    from agent.app import Fovea

    with Fovea.open(settings, unsaved=unsaved) as fovea:
        fovea.progress = Preparing()
        yield fovea


class Preparing:
    """One line on the terminal while a tier is being made for the first time."""

    def __init__(self) -> None:
        self._shown = ("", -1)

    def __call__(self, tier: str, done: float) -> None:
        """Show the share done, 0..1."""
        percent = int(done * 100)
        if not sys.stderr.isatty() or (tier, percent) == self._shown:
            return
        self._shown = (tier, percent)
        end = "\r\x1b[K" if percent >= 100 else ""
        click.echo(f"\rMaking the {tier} tier (once): {percent:3d} %{end}", nl=False, err=True)


def say(text: str) -> None:
    """One line for the person, beside the output."""
    from tui.render.harmless import one_line

    click.echo(f"fovea: {one_line(text)}", err=True)


@contextlib.contextmanager
def stoppable(session: Session) -> Iterator[Callable[[], bool]]:
    """Ctrl-C stops the reply and keeps its text; the yielded function says whether that happened."""
    pressed: list[int] = []

    def stop(number: int, frame: object) -> None:
        pressed.append(number)
        if len(pressed) > 2:
            raise KeyboardInterrupt
        session.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
