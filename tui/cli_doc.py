"""The page that lists every command and option, made from the code: ``python -m tui.cli_doc > docs/cli.md``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

import click

from tui.main import COMMANDS, cli
from tui.old_flags import COMMANDS as COMMANDS_WITH_OLD_FLAGS
from tui.old_flags import OLD

INTRO = """# The command line

`fovea COMMAND --help` shows the same. Every setting can be given for one run as `--set KEY=VALUE`
(see [settings](settings.md)). Results go to standard output, everything else to standard error.

## Exit codes

| code | meaning |
|---|---|
| 0 | done; a reader that closed the pipe early is no error |
| 1 | it could not be done: a file, a folder, a conversation; one line says why |
| 2 | a wrong option, argument or setting |
| 3 | the model could not be loaded, or the engine failed in the middle of a reply |
| 4 | the input cannot be used: empty, not UTF-8, longer than the context (for `kb`: some documents could not be read) |
| 70 | a fault of fovea itself; the details are in the log |
| 130 | stopped with Ctrl-C; what was written is kept |

This page is made by `python -m tui.cli_doc`.
"""


def markdown() -> str:
    """The whole page."""
    parts = [INTRO, *_old_flags()]
    root = click.Context(cli, info_name="fovea")
    for name in COMMANDS:
        command = cli.get_command(root, name)
        if command is not None:
            parts += _command(command, click.Context(command, info_name=name, parent=root), 2)
    return "\n".join(parts).rstrip() + "\n"


def _old_flags() -> Iterator[str]:
    """What becomes of the flags of other programs."""
    yield "\n## Flags of other programs\n"
    yield (
        "`fovea --model FILE --load-in-8bit --chat`, without a command, is `fovea chat`. Underscores are dashes. "
        f"In {', '.join(f'`{name}`' for name in sorted(COMMANDS_WITH_OLD_FLAGS))} these are taken too:\n"
    )
    yield "| flag | here |\n|---|---|"
    for flag, old in OLD.items():
        examples = {"--wbits": "4", "--extensions": "memory,rag"}
        value = examples.get(flag, "N" if old.values else "")
        here = f"`{' '.join(old.new(value))}`" if old.new else f"left out: {old.said}"
        yield f"| `{flag}{' ' + value if value else ''}` | {here} |"
    yield ""


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n{'#' * level} `{context.command_path}`\n"
    yield f"```\n{context.command_path} {usage}\n```\n"
    text = (command.help or "").split("\f")[0].strip()
    if text:
        yield "\n\n".join(_paragraph(part) for part in text.split("\n\n")) + "\n"
    rows = [record for p in command.params if isinstance(p, click.Option) and (record := p.get_help_record(context))]
    if rows:
        yield "| option | meaning |\n|---|---|"
        for flags, meaning in rows:
            yield f"| `{flags.replace('|', '&#124;')}` | {' '.join(meaning.split()).replace('|', '&#124;')} |"
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _paragraph(text: str) -> str:
    """A paragraph of a help text; one that click must not wrap (it begins with a backspace) is set as it stands."""
    first, *rest = text.splitlines()
    if first.strip(" ") == "\b":
        return "\n".join(["```", textwrap.dedent("\n".join(rest)), "```"])
    return "\n".join(line.strip() for line in [first, *rest])


if __name__ == "__main__":
    sys.stdout.write(markdown())
