"""A change to the notes as a value: shown as a diff, written only once somebody above has said yes."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from memory.errors import NoteBudgetError, NoteError, NoteNotFoundError
from memory.notes.conflict import is_conflict
from memory.notes.folder import MEMORY_NAME, NotesFolder
from memory.notes.note import Note, parse
from memory.paths import slug
from memory.recall.text import query_terms
from memory.safety import clean

OVERFLOW_NAME = "remembered.md"
"""Where a memory goes when ``MEMORY.md`` has no room left for it."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The exact change: which file, from which version, to which text."""

    file: str
    new_text: str
    diff: str
    """Unified diff, empty where the notes say it already."""
    reason: str
    """Why this file, in a sentence."""
    base_digest: str = ""
    """The version the change was made from; empty for a new file."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.diff)


def propose(folder: NotesFolder, text: str, *, file: str = "") -> Proposal:
    """Work out where a new memory goes and how the file will read.

    Args:
        folder: the notes.
        text: what to remember, word for word.
        file: a note's name or title; by default ``MEMORY.md``, or a topic note when that is full.

    Returns:
        The proposal; ``needed`` is false where a note says the same already.

    Raises:
        NoteError: the named file cannot be read or may not be written.
    """
    entry = _as_entry(text)
    if not query_terms(entry):
        raise NoteError("There is nothing to remember in an empty text; say what it should be.")
    said = _already_said(folder, entry)
    if said is not None:
        return Proposal(said.name, said.text, "", f"{said.name} says so already.", said.digest)
    if file:
        return _into(folder, _target(folder, file), entry, "You named this note.")
    try:
        proposal = _into(folder, MEMORY_NAME, entry, "Short facts stand in MEMORY.md, which is always in the prompt.")
        _check_room(folder, proposal)
    except NoteBudgetError:
        reason = f"{MEMORY_NAME} has no room left, so this goes to a topic note, recalled when it matters."
        return _into(folder, OVERFLOW_NAME, entry, reason)
    return proposal


def propose_text(folder: NotesFolder, file: str, new_text: str, reason: str = "") -> Proposal:
    """A proposal that replaces a note's whole text, as an editor would."""
    old = _read_or_none(folder, file)
    return _proposal(file, old, new_text, reason)


def apply(folder: NotesFolder, proposal: Proposal) -> Note:
    """Write an approved proposal.

    Raises:
        NoteConflictError: the note changed since the proposal was made; both versions are kept.
        NoteError: it cannot be written.
    """
    if not proposal.needed:
        return folder.read(proposal.file)
    if not proposal.base_digest:
        return folder.create(proposal.file, proposal.new_text)
    return folder.write(proposal.file, proposal.new_text, proposal.base_digest)


def _as_entry(text: str) -> str:
    """One list item; the lines of a longer text are indented below it."""
    lines = [line.rstrip() for line in clean(text).text.strip().split("\n")]
    return "- " + "\n  ".join(line for line in lines if line)


def _target(folder: NotesFolder, file: str) -> str:
    try:
        return folder.find(file).name
    except NoteNotFoundError:
        return file if file.endswith(".md") else f"{slug(file)}.md"


def _into(folder: NotesFolder, name: str, entry: str, reason: str) -> Proposal:
    old = _read_or_none(folder, name)
    if old is None or not old.text.strip():
        heading = "Memory" if name == MEMORY_NAME else parse(name, b"").title.capitalize()
        return _proposal(name, old, f"# {heading}\n\n{entry}\n", reason)
    newline = "\r\n" if "\r\n" in old.text else "\n"
    text = old.text.rstrip("\r\n")
    # A list goes on directly; after a paragraph or a heading markdown needs an empty line.
    in_list = text.rsplit("\n", 1)[-1].startswith(("- ", "* ", "  "))
    return _proposal(name, old, text + newline * (1 if in_list else 2) + entry.replace("\n", newline) + newline, reason)


def _proposal(name: str, old: Note | None, new_text: str, reason: str) -> Proposal:
    before = old.text if old else ""
    diff = "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(
            before.splitlines(keepends=True),
            new_text.splitlines(keepends=True),
            fromfile=f"a/{name}" if old else "/dev/null",
            tofile=f"b/{name}",
        )
    )
    return Proposal(name, new_text, diff, reason, old.digest if old else "")


def _check_room(folder: NotesFolder, proposal: Proposal) -> None:
    tokens = folder.count_tokens(parse(proposal.file, proposal.new_text.encode()).body.strip())
    if tokens > folder.memory_budget:
        raise NoteBudgetError(f"{tokens} tokens do not fit into {folder.memory_budget}.")


def _already_said(folder: NotesFolder, entry: str) -> Note | None:
    """The note with a line of exactly these words, whatever their form."""
    wanted = query_terms(entry)
    for note in folder.notes():
        if note.private or is_conflict(note.name):
            continue
        if any(query_terms(line) == wanted for line in note.body.split("\n") if line.strip()):
            return note
    return None


def _read_or_none(folder: NotesFolder, name: str) -> Note | None:
    try:
        return folder.read(name)
    except NoteNotFoundError:
        return None
