"""The command line: one table of commands, each imported only when it is called.

Exit codes (also in docs/cli.md):
    0   done; a reader that closed the pipe early is no error
    1   it could not be done: a file, a folder, a conversation; one line says why
    2   a wrong option, argument or setting
    3   the model could not be loaded, or the engine failed in the middle of a reply
    4   the input cannot be used: empty, not UTF-8, longer than the context
    70  a fault of fovea itself; the details are in the log
    130 stopped with Ctrl-C
"""

from __future__ import annotations

import codecs
import gc
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from tui.exit_codes import DONE, FAILED, FAULT, STOPPED, code_of
from tui.old_flags import translated

COMMANDS: dict[str, tuple[str, str, str]] = {
    "chat": ("tui.commands.chat", "chat", "Talk: the full-screen app, or a line mode with --plain."),
    "ask": ("tui.commands.ask", "ask", "Ask one question; the answer streams to standard output."),
    "sessions": ("tui.commands.sessions", "sessions", "List, search, show, export and remove conversations."),
    "forks": ("tui.commands.forks", "forks", "Show where a higher tier would have written something else."),
    "settings": ("tui.commands.settings", "settings", "Show and change settings."),
    "models": ("tui.commands.models", "models", "List, inspect, add and fetch models; make their tiers."),
    "plan": ("tui.commands.plan", "plan", "Say which tiers of a model fit on this machine, and why."),
    "calibrate": ("tui.commands.calibrate", "calibrate", "Fit the density model that decides where to look closer."),
    "kb": ("tui.commands.kb", "kb", "Add documents to the knowledge base and search them."),
    "note": ("tui.commands.note", "note", "Read, write and search notes."),
    "stats": ("tui.commands.stats", "stats", "Say how often you really preferred a higher tier."),
    "bench": ("tui.commands.bench", "bench", "Measure speed, fidelity and cost on this machine."),
    "serve": ("tui.commands.serve", "serve", "Serve the ladder to any OpenAI client, on this machine by default."),
}
"""Name -> (module, attribute, one line of help). The help stands here so that --help imports nothing."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: what people need first stands first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute, _ = COMMANDS[cmd_name]
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name + ".").startswith(error.name + "."):
                raise click.ClickException(f"`fovea {cmd_name}` is not part of this installation") from error
            raise click.ClickException(
                f"`fovea {cmd_name}` needs the package {error.name}; install it, or fovea with its extras: "
                "pipx install 'fovea-agent[all]'"
            ) from error
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which command was probably meant."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `fovea {close[0]}`?" if close else ""
            raise click.UsageError(f"There is no command `{args[0]}`.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Click itself would turn a reader that went away into exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _reader_went_away()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in COMMANDS.items()])


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("fovea-agent")
        except PackageNotFoundError:
            number = "(not installed)"
        click.echo(f"fovea {number}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """A terminal agent that speaks at 4 bits and looks closer, at 8 or 16, where meaning is dense."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and end the process with its exit code."""
    # Importing makes some hundred thousand objects that stay: looking through them every 700 was a tenth of a start.
    gc.set_threshold(50_000, 20, 50)
    _open_missing_streams()
    _print_what_can_be_printed()
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_went_away()
    except OSError as error:
        code = _cannot_print(error)
    sys.exit(code)


def _open_missing_streams() -> None:
    """Let streams that were closed before the start (``>&-``) be the null device: nothing below must ask for them.

    Its numbers are taken in order, so that no file opened later becomes number 0, 1 or 2.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace"))  # noqa: SIM115, PTH123  # stays


def _print_what_can_be_printed() -> None:
    """Where the locale is not UTF-8, a letter it lacks becomes a question mark: a reply must not end for it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(errors="replace")


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code. Nothing but one clear line is ever shown of an error."""
    try:
        given, said = translated(arguments)
        for line in said:
            click.echo(f"fovea: {_clean(line)}", err=True)
        result: Any = cli.main(given, prog_name="fovea", standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        hint = f" (`{where} --help` explains)" if where else ""
        click.echo(f"fovea: {_clean(error.format_message())}{hint}", err=True)
        return error.exit_code
    except click.Abort:
        return STOPPED
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        return _reader_went_away()
    except Exception as error:
        if _is_full(error):
            return _cannot_print(error)
        return _explain(error)
    return result if isinstance(result, int) else DONE


def _clean(text: str) -> str:
    from tui.render.harmless import one_line

    return one_line(text)


def _explain(error: Exception) -> int:
    log = logging.getLogger("tui")
    code = code_of(error)
    if code != FAULT:
        log.info("ended with: %s", error, exc_info=error)
        click.echo(f"fovea: {_clean(str(error))}", err=True)
        return code
    log.critical("a fault of fovea itself", exc_info=error)
    where = next((h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)), "")
    details = f"the details are in {where}" if where else "no log could be written"
    click.echo(
        f"fovea: something went wrong inside ({type(error).__name__}: {_clean(str(error))[:200]}); {details}", err=True
    )
    return FAULT


def _is_full(error: Exception) -> bool:
    """Whether standard output does not take what is printed (a full disk).

    The error of a write names no file, and a stream forgets what it could not write: so one more byte is tried.
    """
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except (BrokenPipeError, io.UnsupportedOperation):
        return False
    except OSError:
        return True
    return False


def _cannot_print(error: Exception) -> int:
    """Standard output does not take what is printed. What Python flushes at its end must not complain once more."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    _reader_went_away()
    click.echo(f"fovea: standard output cannot be written: {reason}", err=True)
    return FAILED


def _reader_went_away() -> int:
    """The reader of our output closed it: not an error. What Python flushes at its end must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


if __name__ == "__main__":
    main()
