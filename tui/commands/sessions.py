"""``fovea sessions``: conversations as a list."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.commands.common import confirm, opened, settings_from

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from agent.app import Fovea


@click.group("sessions")
def sessions() -> None:
    """List, search, show, export and remove conversations.

    ID is the name of a conversation, the start of it, or `last`.
    """


def _open() -> AbstractContextManager[Fovea]:
    return opened(settings_from({}))


@sessions.command("list")
@click.argument("query", nargs=-1)
@click.option("--archived", is_flag=True, help="The archive instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(query: tuple[str, ...], archived: bool, as_json: bool) -> None:
    """The latest first; with QUERY those that hold all its words."""
    from tui.render.harmless import one_line

    with _open() as fovea:
        found = fovea.sessions(" ".join(query), archived)
        if as_json:
            rows = [
                {
                    "id": s.id,
                    "title": s.title,
                    "created": s.created,
                    "updated": s.updated,
                    "messages": s.messages,
                    "private": s.private,
                }
                for s in found
            ]
            click.echo(json.dumps({"sessions": rows}))
            return
        for info in found:
            when = datetime.fromtimestamp(info.updated).astimezone().strftime("%Y-%m-%d %H:%M")
            mark = "  [private]" if info.private else ""
            click.echo(f"{info.id}  {when}  {info.messages:4d}  {one_line(info.title, 80)}{mark}")
        if not found:
            click.echo(
                "No conversation found." if query else "No conversations yet; `fovea chat` begins one.", err=True
            )


@sessions.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Messages that hold all WORDS, the best match first."""
    from tui.render.harmless import one_line

    with _open() as fovea:
        found = fovea.search(" ".join(words))
        if as_json:
            rows: list[dict[str, Any]] = [
                {"session": f.session, "title": f.title, "node": f.node, "role": f.role, "snippet": f.snippet}
                for f in found
            ]
            click.echo(json.dumps({"found": rows}))
            return
        for hit in found:
            who = "you" if hit.role == "user" else "fovea"
            click.echo(f"{hit.session}  {who}: {one_line(hit.snippet, 120)}")
        if not found:
            click.echo("Nothing found.", err=True)


@sessions.command("show")
@click.argument("id")
def show(id: str) -> None:
    """Print a conversation as markdown."""
    from tui.render.harmless import harmless

    with _open() as fovea:
        click.echo(harmless(fovea.session(id).export("markdown")), nl=False)


@sessions.command("export")
@click.argument("id")
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown", help="markdown or json.")
@click.option("--output", "-o", type=click.Path(path_type=Path), default=None, help="File; otherwise standard output.")
def export(id: str, form: str, output: Path | None) -> None:
    """Write a conversation with its provenance; JSON holds every branch and token."""
    from agent.paths import write_where_told
    from tui.render.harmless import harmless

    with _open() as fovea:
        text = fovea.session(id).export("json" if form == "json" else "markdown")
    if output is not None and str(output) != "-":
        write_where_told(output, text)
    else:
        # JSON keeps its exact text: control characters are escaped in it already.
        click.echo(text if form == "json" and not sys.stdout.isatty() else harmless(text), nl=False)


@sessions.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_(file: Path) -> None:
    """Read a conversation from a JSON export, or from markdown with a heading for every message."""
    from agent.importing import import_file
    from tui.render.harmless import one_line

    def told(line: str) -> None:
        click.echo(f"fovea: {one_line(line, 300)}", err=True)

    with _open() as fovea:
        click.echo(import_file(fovea.tree, file, told))


@sessions.command("rename")
@click.argument("id")
@click.argument("title", nargs=-1, required=True)
def rename(id: str, title: tuple[str, ...]) -> None:
    """Give a conversation a title."""
    with _open() as fovea:
        fovea.session(id).rename(" ".join(title))


@sessions.command("archive")
@click.argument("id")
@click.option("--undo", is_flag=True, help="Take it out of the archive.")
def archive(id: str, undo: bool) -> None:
    """Put a conversation away; it stays searchable."""
    with _open() as fovea:
        session = fovea.session(id)
        if undo:
            session.unarchive()
        else:
            session.archive()


@sessions.command("private")
@click.argument("id")
@click.option("--undo", is_flag=True, help="Let other conversations recall it again.")
def private(id: str, undo: bool) -> None:
    """Keep a conversation out of the recall of others; what the memory holds of it is forgotten."""
    with _open() as fovea:
        fovea.session(id).set_private(not undo)


@sessions.command("rm")
@click.argument("ids", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def rm(ids: tuple[str, ...], yes: bool) -> None:
    """Erase conversations for good."""
    from tui.render.harmless import one_line

    with _open() as fovea:
        found = [fovea.session(name) for name in ids]
        for session in found:
            confirm(f"Erase {session.id} “{one_line(session.title, 60)}”?", yes)
        for session in found:
            session.delete_session()
