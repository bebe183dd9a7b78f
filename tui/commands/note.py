"""``fovea note``: the text-file memory on the command line.

The notes are markdown files in a folder of their own; every command works on the files and then brings the word index
after them. Nothing here needs an embedding model.

Exit codes: 0 done; 1 it could not be done, one line says why; 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.commands.common import confirm
from tui.commands.kb import plainly
from tui.commands.kb_output import say, say_json
from tui.render.harmless import harmless, one_line

if TYPE_CHECKING:
    from memory.notes import Note, NotesFolder, Proposal
    from memory.notes.forget import Forgotten
    from memory.store import Store

NOTES = "notes"
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_folder = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder instead of the one in the settings."
)
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def data_folder(data: Path | None) -> tuple[Path, int]:
    """The data folder and the budget of MEMORY.md."""
    from agent import paths, settings_file

    settings = settings_file.load(paths.find().settings)
    folder = data or paths.find(settings.folders.data, settings.folders.cache).data
    return folder, settings.memory.notes_tokens


def notes_in(data: Path | None) -> NotesFolder:
    """The folder of notes of the settings."""
    from memory.notes import NotesFolder

    folder, budget = data_folder(data)
    return NotesFolder(folder / NOTES, memory_budget=budget)


@contextmanager
def indexed(data: Path | None, *, reading: bool = False) -> Iterator[tuple[NotesFolder, Store]]:
    """Notes and store, in step; as they are where it is only read and nothing can be written."""
    from memory.notes.index import sync
    from memory.store import Store
    from memory.store.database import can_write

    folder, place = notes_in(data), data_folder(data)[0]
    if reading and place.exists() and not can_write(place):
        with Store(place, read_only=True) as store:
            yield folder, store
        return
    with Store(place) as store:
        for problem in sync(folder, store).problems:
            say(problem.reason)
        yield folder, store


@click.group("note")
def note() -> None:
    """Read, write and search notes: markdown files that are yours to edit."""


@note.command("add")
@click.argument("text", nargs=-1)
@click.option("--to", "file", default="", help="The note it belongs to; by default MEMORY.md, which is always read.")
@_yes
@_folder
@_json
@plainly
def add(text: tuple[str, ...], file: str, yes: bool, data: Path | None, as_json: bool) -> None:
    """Remember a sentence: shows the change and asks. Without TEXT it is read from standard input."""
    from memory.notes import apply, propose

    said = " ".join(text) if text else sys.stdin.read()
    folder = notes_in(data)
    proposal = propose(folder, said, file=file)
    if not proposal.needed:
        _report({"file": proposal.file, "written": False, "reason": proposal.reason}, proposal.reason, as_json)
        return
    _agree(proposal, yes or as_json)
    written = apply(folder, proposal)
    _reindex(data)
    _warn(folder)
    _report({"file": written.name, "written": True, "reason": proposal.reason}, f"Written to {written.name}.", as_json)


@note.command("list")
@_folder
@_json
@plainly
def list_notes(data: Path | None, as_json: bool) -> None:
    """List the notes, and what is wrong with any."""
    folder = notes_in(data)
    listing = folder.listing()
    if as_json:
        say_json(
            {
                "folder": str(folder.root),
                "notes": [_facts(one) for one in listing.notes],
                "problems": [asdict(problem) for problem in listing.problems],
            }
        )
        return
    for one in listing.notes:
        marks = [*("private" for _ in range(one.private)), *one.tags]
        click.echo(f"{one_line(one.name)}  {one_line(one.title)}{'  [' + ', '.join(marks) + ']' if marks else ''}")
    for problem in listing.problems:
        say(problem.reason)
    if not listing.notes:
        click.echo('No notes yet. `fovea note add "…"` writes one.')
    _warn(folder)


@note.command("show")
@click.argument("name")
@_folder
@_json
@plainly
def show(name: str, data: Path | None, as_json: bool) -> None:
    """Show one note with where its links lead."""
    folder = notes_in(data)
    found = folder.find(name)
    links = {link.target: target.name if target else None for link, target in folder.links(found).items()}
    back = [other.name for other in folder.backlinks(found.name)]
    if as_json:
        say_json(_facts(found) | {"text": found.text, "links": links, "linked_from": back})
        return
    click.echo(harmless(found.text).rstrip("\n"))
    for written, leads_to in links.items():
        say(f"[[{written}]] leads to {leads_to or 'nothing yet'}")
    if back:
        say(f"linked from {', '.join(back)}")


@note.command("edit")
@click.argument("name")
@_folder
@plainly
def edit(name: str, data: Path | None) -> None:
    """Open a note in your editor (EDITOR); a name that is not there begins a new note."""
    from memory.errors import NoteConflictError, NoteError, NoteNotFoundError
    from memory.paths import confined, slug

    folder = notes_in(data)
    before: Note | None = None
    try:
        before = folder.find(name)
        file, text = before.name, before.text
    except NoteNotFoundError:
        file, text = name if name.endswith(".md") else f"{slug(name)}.md", f"# {one_line(name)}\n\n"
        confined(folder.root, file)  # refused before anything is typed, not after
    # The editor works on a copy: its save goes through the same comparison as every other write.
    edited = click.edit(text, extension=".md", require_save=True)
    if edited is None or edited == text:
        click.echo("Nothing changed.")
        return
    try:
        if before is None:
            folder.create(file, edited)
        else:
            folder.write(file, edited, before.digest)
    except NoteConflictError as error:
        if before is not None:
            raise  # the folder has kept both versions
        raise NoteError(f"{error} Your text is kept as {folder.keep_aside(file, edited)}.") from error
    except NoteError as error:
        raise NoteError(f"{error} Your text is kept as {folder.keep_aside(file, edited)}.") from error
    _reindex(data)
    _warn(folder)
    click.echo(f"Written to {file}.")


@note.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", "-n", type=click.IntRange(1, 100), default=10, show_default=True, help="Most places.")
@_folder
@_json
@plainly
def search(words: tuple[str, ...], limit: int, data: Path | None, as_json: bool) -> None:
    """Search the notes by words of any form; private notes are searched too, for this is you."""
    from memory.notes.index import search as find

    with indexed(data, reading=True) as (_, store):
        found = find(store, " ".join(words), limit)
    if as_json:
        say_json({"found": [asdict(one) for one in found]})
        return
    for one in found:
        click.echo(f"{one_line(one.name)}:{one.line}  {one_line(one.text, 160)}")
    if not found:
        click.echo("No note says that.")


@note.command("rm")
@click.argument("name")
@_yes
@_folder
@_json
@plainly
def rm(name: str, yes: bool, data: Path | None, as_json: bool) -> None:
    """Delete a note's file and take it out of the index; `forget` also proves that nothing is left."""
    folder = notes_in(data)
    found = folder.find(name)
    confirm(f"Delete {found.name}?", yes or as_json)
    folder.remove(found.name)
    _reindex(data)
    _report({"removed": found.name}, f"{found.name} is deleted.", as_json)


@note.command("forget")
@click.argument("name")
@_yes
@_folder
@_json
@plainly
def forget(name: str, yes: bool, data: Path | None, as_json: bool) -> None:
    """Remove a note completely, then look for it everywhere; exit code 1 where anything is left."""
    from memory.notes.forget import forget as forget_note

    with indexed(data) as (folder, store):
        found = folder.find(name)
        confirm(f"Forget {found.name} for good?", yes or as_json)
        result = forget_note(folder, store, found.name)
    _show_proof(result, as_json)
    if not result.proved:
        raise click.exceptions.Exit(1)


@note.command("path")
@click.argument("name", required=False)
@_folder
@plainly
def path(name: str | None, data: Path | None) -> None:
    """Print where the notes lie, or where one of them does."""
    folder = notes_in(data)
    click.echo(str(folder.root / folder.find(name).name if name else folder.root))


def _agree(proposal: Proposal, yes: bool) -> None:
    """Show the exact change and ask."""
    if yes:
        return
    click.echo(harmless(proposal.diff).rstrip("\n"))
    if proposal.reason:
        say(proposal.reason)
    confirm("Write this?", yes=False)


def _reindex(data: Path | None) -> None:
    """Bring the index after the files; the files count, so trouble with the index is only told."""
    from memory.errors import MemoryRoomError

    try:
        with indexed(data):
            pass
    except MemoryRoomError as error:
        say(f"The note is written, but the index is behind: {error}")


def _warn(folder: NotesFolder) -> None:
    from memory.errors import NoteError

    try:
        warning = folder.memory().warning
    except NoteError as error:
        warning = str(error)
    if warning:
        say(warning)


def _facts(one: Note) -> dict[str, object]:
    return {
        "name": one.name,
        "title": one.title,
        "tags": list(one.tags),
        "private": one.private,
        "modified": one.modified,
        "characters": len(one.text),
    }


def _show_proof(result: Forgotten, as_json: bool) -> None:
    if as_json:
        say_json(asdict(result) | {"proved": result.proved})
        return
    click.echo(f"{one_line(result.name)}: {result.chunks} chunks and {result.vectors} vectors removed.")
    for check in result.checks:
        click.echo(f"  {'clean' if check.clean else 'LEFT '}  {check.place}: {one_line(check.detail, 160)}")
    for place in result.elsewhere:
        say(f"left alone: {place}")
    say("Conversations that mention it, and your backups, are not part of the notes.")
    click.echo("Forgotten, and proved." if result.proved else "Not everything could be removed; see above.")


def _report(values: dict[str, object], sentence: str, as_json: bool) -> None:
    if as_json:
        say_json(values)
    else:
        click.echo(one_line(sentence, 300))
