"""The notes folder: markdown files a person may edit at any time, read and written without ever losing an edit.

Contract: every name is confined to the folder; a write says which version it was made from and never replaces another
one (on conflict the other version stays in place, ours is kept beside it, and the error names both); a note that does
not fit its budget is refused, never cut. The folder itself is the truth: nothing is cached here, so that an edit made
outside is seen by the next read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from memory.errors import NoteConflictError, NoteError, NoteNotFoundError, PathRefusedError
from memory.notes.budget import DEFAULT_BUDGET, MemoryBlock, estimate_tokens, within_budget
from memory.notes.conflict import CONFLICT_MARK, conflict, is_conflict, keep_beside
from memory.notes.finding import NoteNames
from memory.notes.note import Link, Note, parse
from memory.notes.swap import ChangedMeanwhileError, create, replace_if, sync_folder
from memory.paths import confined, read_confined
from memory.safety import one_line

MEMORY_NAME = "MEMORY.md"
LESSONS_NAME = "lessons.md"
MAX_NOTE_BYTES = 1_000_000  # a note is for reading; larger texts belong into the knowledge base


@dataclass(frozen=True, slots=True)
class Problem:
    """A file in the folder that could not be read as a note, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the folder holds: the notes by name, and what is wrong with the rest."""

    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]


class NotesFolder:
    """A folder of notes.

    Args:
        root: the folder; created with mode 0700 by the first write.
        memory_budget: tokens ``MEMORY.md`` may take in the prompt.
        count_tokens: counts them; an estimate that errs high where no model is loaded.
    """

    def __init__(
        self,
        root: Path,
        *,
        memory_budget: int = DEFAULT_BUDGET,
        count_tokens: Callable[[str], int] = estimate_tokens,
    ) -> None:
        self.root = root
        self.memory_budget = memory_budget
        self.count_tokens = count_tokens

    # Reading ---------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every markdown file below the folder, hidden ones excepted, ``MEMORY.md`` first."""
        return sorted(self._walk(), key=lambda name: (name != MEMORY_NAME, name))

    def read(self, name: str) -> Note:
        """Read one note by its exact name.

        Raises:
            NoteNotFoundError: there is no such file.
            PathRefusedError: the name leads out of the folder, or the file is too large or not a regular one.
            NoteError: the file may not be read.
        """
        path = confined(self.root, name)
        try:
            modified = path.stat().st_mtime
            return parse(name, read_confined(self.root, name, MAX_NOTE_BYTES), modified)
        except FileNotFoundError as error:
            raise NoteNotFoundError(f"There is no note “{one_line(name)}” in {self.root}.") from error
        except OSError as error:
            raise NoteError(f"{path} could not be read: {error.strerror or error}.") from error

    def listing(self) -> Listing:
        """Read every note; a file that cannot be read is reported, not raised."""
        notes: list[Note] = []
        problems: list[Problem] = []
        for name in self.names():
            try:
                note = self.read(name)
            except NoteNotFoundError:
                continue  # removed while we looked
            except NoteError as error:
                problems.append(Problem(name, str(error)))
                continue
            if note.damaged:
                problems.append(Problem(name, f"{name} is not UTF-8; unreadable letters show as \ufffd."))
            if is_conflict(name):
                problems.append(Problem(name, f"{name} is a kept version of a note edited twice; merge and remove it."))
            notes.append(note)
        return Listing(tuple(notes), tuple(problems))

    def notes(self) -> tuple[Note, ...]:
        """Every readable note."""
        return self.listing().notes

    def find(self, wanted: str) -> Note:
        """Find a note by name, with or without ``.md``, by title, or by what a title would be called as a file.

        Raises:
            NoteAmbiguousError: several notes answer to that.
            NoteNotFoundError: no note does; the message offers the nearest names.
        """
        for name in (wanted, f"{wanted}.md") if wanted.strip() else ():
            try:
                return self.read(name)
            except (NoteNotFoundError, PathRefusedError):
                continue
        return NoteNames(self.notes()).find(wanted)

    def links(self, note: Note) -> dict[Link, Note | None]:
        """Where the wiki links of a note lead; None for a note that is yet to be written."""
        names = NoteNames(self.notes()) if note.links else None
        return {link: names.resolve(link.target) if names else None for link in note.links}

    def backlinks(self, name: str) -> tuple[Note, ...]:
        """The notes whose wiki links lead to this one."""
        return NoteNames(self.notes()).linking_to(name)

    def memory(self) -> MemoryBlock:
        """What of ``MEMORY.md`` belongs into the prompt: all of it, or an error when it does not fit.

        Raises:
            NoteBudgetError: an edit made it larger than its budget.
            NoteError: it cannot be read.
        """
        try:
            note = self.read(MEMORY_NAME)
        except NoteNotFoundError:
            return MemoryBlock("", 0, self.memory_budget)
        text = "" if note.private else note.body.strip()
        return within_budget(text, self.count_tokens(text), self.memory_budget)

    # Writing ---------------------------------------------------------------------------------------------------

    def create(self, name: str, text: str) -> Note:
        """Write a new note.

        Raises:
            NoteConflictError: the name is taken.
            NoteBudgetError: it is ``MEMORY.md`` and does not fit.
            NoteError: the file cannot be written.
        """
        path = self._writable(name, text)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            create(path, text.encode("utf-8"))
        except FileExistsError as error:
            raise NoteConflictError(f"{path} exists already; read it first, then change it.") from error
        except OSError as error:
            raise NoteError(f"{path} could not be written: {error.strerror or error}.") from error
        return self.read(name)

    def write(self, name: str, text: str, read_digest: str) -> Note:
        """Replace a note, if it still is the version that was read.

        Args:
            name: the note.
            text: the whole new file.
            read_digest: ``Note.digest`` of the version the change was made from.

        Raises:
            NoteConflictError: somebody else changed or removed it; their version stays, ours is kept beside it.
            NoteBudgetError: it is ``MEMORY.md`` and would not fit.
            NoteError: it is not UTF-8, or cannot be written.
        """
        path = self._writable(name, text)
        try:
            current = self.read(name)
        except NoteNotFoundError:
            raise conflict(path, text, "was removed") from None
        if current.damaged:
            raise NoteError(f"{path} is not UTF-8; convert it with an editor first, so that nothing of it is lost.")
        try:
            replace_if(path.resolve(), text.encode("utf-8"), read_digest)
        except ChangedMeanwhileError:
            raise conflict(path, text, "was changed") from None
        except FileNotFoundError:
            raise conflict(path, text, "was removed") from None
        except OSError as error:
            raise NoteError(f"{path} could not be written: {error.strerror or error}.") from error
        return self.read(name)

    def remove(self, name: str) -> None:
        """Delete a note's file.

        Raises:
            NoteNotFoundError: there is no such file.
            NoteError: it cannot be deleted.
        """
        path = confined(self.root, name)
        try:
            path.unlink()
            sync_folder(path.parent)
        except FileNotFoundError as error:
            raise NoteNotFoundError(f"There is no note “{one_line(name)}” in {self.root}.") from error
        except OSError as error:
            raise NoteError(f"{path} could not be deleted: {error.strerror or error}.") from error

    def keep_aside(self, name: str, text: str) -> str:
        """Keep a text that could not be written as a note, so that nothing a person typed is lost.

        Returns:
            The name it lies under.

        Raises:
            NoteError: not even that is possible.
        """
        path = confined(self.root, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return keep_beside(path, text).relative_to(self.root).as_posix()
        except OSError as error:
            raise NoteError(f"{path} could not be kept aside: {error.strerror or error}.") from error

    def conflicts_of(self, name: str) -> list[str]:
        """The kept versions of a note that was edited twice at once."""
        stem = name.removesuffix(".md") + CONFLICT_MARK
        return [other for other in self.names() if other.startswith(stem)]

    # Inside ----------------------------------------------------------------------------------------------------

    def _writable(self, name: str, text: str) -> Path:
        path = confined(self.root, name)
        if path.suffix != ".md":
            raise PathRefusedError(f"“{one_line(name)}” does not end in .md; notes are markdown files.")
        if len(text.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES:
            raise NoteError(f"{path} would be larger than {MAX_NOTE_BYTES:,} bytes; use the knowledge base instead.")
        if name == MEMORY_NAME:
            body = parse(name, text.encode("utf-8", "replace")).body.strip()
            within_budget(body, self.count_tokens(body), self.memory_budget)
        return path

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in files:
                if file.endswith(".md") and not file.startswith("."):
                    yield PurePosixPath(Path(folder, file).relative_to(self.root).as_posix()).as_posix()
