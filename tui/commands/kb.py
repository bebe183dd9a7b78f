"""``fovea kb``: the knowledge base on the command line.

Exit codes: 0 done; 1 nothing could be done; 2 wrong usage; 4 some documents could not be read (the others were, and
each is named with its reason); 130 stopped with Ctrl-C (what was done is kept).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from memory.errors import MemoryRoomError
from tui.commands import kb_output as output

if TYPE_CHECKING:
    from memory.ingest import Control, Outcome
    from memory.kb import KnowledgeBase, Waiting

P = ParamSpec("P")
R = TypeVar("R")

LEFT_OUT, STOPPED = 4, 130
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_folder = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder instead of the one in the settings."
)
_no_wait = click.option("--no-wait", is_flag=True, help="Give up at once where another fovea is at work.")


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of the lower rooms into one line and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        from agent.errors import AgentError
        from tui.render.harmless import one_line

        try:
            return command(*args, **kwargs)
        except (MemoryRoomError, AgentError) as error:
            raise click.ClickException(one_line(str(error))) from error

    return wrapped


@contextmanager
def opened(data: Path | None, *, reading: bool = False) -> Iterator[KnowledgeBase]:
    """The knowledge base of the settings; what only reads works where nothing can be written as well."""
    from agent import paths, settings_file
    from memory.kb import KnowledgeBase, KnowledgeSettings
    from memory.store.database import can_write

    settings = settings_file.load(paths.find().settings)
    folder = data or paths.find(settings.folders.data, settings.folders.cache).data
    wanted = KnowledgeSettings(model=settings.memory.embedding_model, index=settings.memory.vector_index)
    with KnowledgeBase(folder, wanted, read_only=reading and folder.exists() and not can_write(folder)) as base:
        yield base


@contextmanager
def at_work() -> Iterator[Control]:
    """Progress on the terminal and Ctrl-C that stops between documents."""
    from memory.ingest import Control

    line = output.ProgressLine()
    with output.interruptible() as stop:
        try:
            yield Control(report=line, cancelled=stop.is_set)
        finally:
            line.clear()


def patience(no_wait: bool) -> Waiting:
    """Wait for another fovea and say so, or not at all."""
    from memory.kb import Waiting

    return Waiting(seconds=0 if no_wait else None, told=output.say)


def finish(outcome: Outcome, as_json: bool) -> None:
    """Show what was done and leave with its exit code."""
    output.show_outcome(outcome, as_json)
    if outcome.cancelled:
        raise click.exceptions.Exit(STOPPED)
    if outcome.failed:
        done = outcome.added + outcome.updated + outcome.unchanged + outcome.removed
        raise click.exceptions.Exit(LEFT_OUT if done else 1)


@click.group("kb")
def kb() -> None:
    """Add documents to the knowledge base and search them."""


@kb.command("add")
@click.argument("sources", nargs=-1, required=True)
@click.option("--private", is_flag=True, help="Never recall what is added; only `kb show` gives it.")
@click.option("--words-only", is_flag=True, help="Leave embedding for later.")
@_no_wait
@_folder
@_json
@plainly
def add(
    sources: tuple[str, ...], private: bool, words_only: bool, no_wait: bool, data: Path | None, as_json: bool
) -> None:
    """Add files, folders, patterns or web addresses; running it again continues."""
    with opened(data) as base, at_work() as control:
        outcome = base.add(sources, control, private=private, embed=not words_only, waiting=patience(no_wait))
    finish(outcome, as_json)


@kb.command("refresh")
@click.argument("targets", nargs=-1)
@click.option("--pages", is_flag=True, help="Fetch web pages again too.")
@_no_wait
@_folder
@_json
@plainly
def refresh(targets: tuple[str, ...], pages: bool, no_wait: bool, data: Path | None, as_json: bool) -> None:
    """Follow the disk: changed, new, moved and removed files of what was added."""
    with opened(data) as base, at_work() as control:
        outcome = base.refresh(targets, control, pages=pages, waiting=patience(no_wait))
        if base.settings.index != "auto" and not outcome.cancelled:
            state = base.open_index()
            if not state.usable:
                output.say(state.reason)
    finish(outcome, as_json)


@kb.command("rm")
@click.argument("targets", nargs=-1, required=True)
@_no_wait
@_folder
@_json
@plainly
def rm(targets: tuple[str, ...], no_wait: bool, data: Path | None, as_json: bool) -> None:
    """Forget documents: a file, a folder, a pattern or a web address. The files themselves stay."""
    with opened(data) as base:
        outcome = base.remove(targets, waiting=patience(no_wait))
    finish(outcome, as_json)


@kb.command("list")
@click.option("--failed", is_flag=True, help="Only what could not be read.")
@_folder
@_json
@plainly
def list_documents(failed: bool, data: Path | None, as_json: bool) -> None:
    """List the documents."""
    from dataclasses import asdict

    from tui.render.harmless import one_line

    with opened(data, reading=True) as base:
        documents = [one for one in base.documents() if not failed or one.status == "failed"]
    if as_json:
        output.say_json({"documents": [asdict(one) for one in documents]})
        return
    for one in documents:
        state = f"  (left out: {one_line(one.reason)})" if one.status == "failed" else ""
        notes = [word for word, on in (("private", one.private), (one_line(one.mark), one.mark)) if on]
        click.echo(f"{one_line(one.uri)}{state}{'  [' + ', '.join(notes) + ']' if notes else ''}")
    if not documents:
        click.echo("No documents." if failed else "No documents yet. `fovea kb add FOLDER` adds some.")


@kb.command("show")
@click.argument("document")
@_folder
@_json
@plainly
def show(document: str, data: Path | None, as_json: bool) -> None:
    """Show one document as it is stored, chunk by chunk."""
    with opened(data, reading=True) as base:
        found = base.show(document)
    if found is None:
        raise click.ClickException(f"{document} is not in the knowledge base; `fovea kb list` shows what is.")
    output.show_document(*found, as_json)


@kb.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", "-n", type=click.IntRange(1, 100), default=5, show_default=True, help="Most passages.")
@click.option("--words-only", is_flag=True, help="Without the embedding model.")
@_folder
@_json
@plainly
def search(words: tuple[str, ...], limit: int, words_only: bool, data: Path | None, as_json: bool) -> None:
    """Search the documents by words and by meaning."""
    with opened(data, reading=True) as base:
        found, note = base.search(" ".join(words), limit, ["file", "url"], meaning=not words_only)
    output.show_found(found, note, as_json)


@kb.command("stats")
@_folder
@_json
@plainly
def stats(data: Path | None, as_json: bool) -> None:
    """Say how much is stored and in what state it is."""
    with opened(data, reading=True) as base:
        status = base.status()
    output.show_status(status, as_json)


@kb.command("verify")
@click.option("--no-repair", is_flag=True, help="Only report.")
@click.option("--quick", is_flag=True, help="Without reading every text and vector.")
@_no_wait
@_folder
@_json
@plainly
def verify(no_repair: bool, quick: bool, no_wait: bool, data: Path | None, as_json: bool) -> None:
    """Check everything stored against itself and repair what can be made again. Exit code 1 where damage remains."""
    from dataclasses import asdict

    with opened(data) as base:
        found = base.verify(repair=not no_repair, read_data=not quick, waiting=patience(no_wait))
    if as_json:
        output.say_json(asdict(found) | {"clean": found.clean})
    else:
        for line in found.repaired:
            click.echo(f"repaired: {line}")
        for line in found.problems:
            click.echo(f"wrong: {line}")
        click.echo(f"{found.checked_chunks} chunks checked" + (", all well." if found.clean else "."))
    if found.problems:
        raise click.exceptions.Exit(1)


@kb.command("rebuild")
@click.option("--vectors", is_flag=True, help="Embed every chunk again too.")
@_no_wait
@_folder
@_json
@plainly
def rebuild(vectors: bool, no_wait: bool, data: Path | None, as_json: bool) -> None:
    """Make the word index and the chromadb index anew from what is stored."""
    from dataclasses import asdict

    with opened(data) as base, at_work() as control:
        state = base.rebuild(control, vectors=vectors, waiting=patience(no_wait))
        stopped = control.cancelled()
    if as_json:
        output.say_json({"words": "rebuilt", "chroma": asdict(state), "cancelled": stopped})
    else:
        click.echo("The word index is new.")
        click.echo(f"chromadb: {state.count} vectors" if state.usable else f"chromadb: {state.reason}")
    if stopped:
        raise click.exceptions.Exit(STOPPED)


@kb.command("watch")
@_folder
@_json
@plainly
def watch(data: Path | None, as_json: bool) -> None:
    """Follow the added folders until Ctrl-C; what changes there changes here within seconds."""
    with opened(data) as base, at_work() as control:
        if not base.status().roots:
            raise click.ClickException("No folder was added yet; `fovea kb add FOLDER` adds one.")
        for outcome in base.watch(control):
            output.show_outcome(outcome, as_json)
