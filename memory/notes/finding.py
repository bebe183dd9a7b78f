"""Which note a person means by a name, and where wiki links lead.

A note answers to its file name, then to its title, then to what a title would be called as a file, whatever the case;
a kept version of a conflict answers to nothing but its exact file name.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from memory.errors import NoteAmbiguousError, NoteNotFoundError
from memory.notes.conflict import is_conflict
from memory.notes.note import Link, Note
from memory.paths import slug
from memory.safety import one_line

_Table = dict[str, list[Note]]


class NoteNames:
    """What some notes answer to; made once for many questions.

    Args:
        notes: the notes of a folder.
    """

    def __init__(self, notes: Iterable[Note]) -> None:
        self._notes = tuple(notes)
        self._exact = {note.name: note for note in self._notes}
        meant = [note for note in self._notes if not is_conflict(note.name)]
        self._ways: tuple[tuple[_Table, Callable[[str], str]], ...] = (
            (_table(meant, _file_names), str.casefold),
            (_table(meant, lambda note: {note.title.casefold()}), lambda wanted: wanted.strip().casefold()),
            (_table(meant, lambda note: {slug(PurePosixPath(note.name).stem)}), slug),
        )

    def find(self, wanted: str) -> Note:
        """The one note that answers to a name.

        Raises:
            NoteAmbiguousError: several answer to that.
            NoteNotFoundError: no note does; the message offers the nearest names.
        """
        if not wanted.strip():  # a title may be empty, and so may what is left of a name as a file's
            raise NoteNotFoundError("The name of the note is empty. `fovea note list` shows them all.")
        for name in (wanted, f"{wanted}.md"):
            if name in self._exact:
                return self._exact[name]
        for table, key in self._ways:
            found = table.get(key(wanted), [])
            if len(found) == 1:
                return found[0]
            if found:
                several = ", ".join(note.name for note in found[:5])
                raise NoteAmbiguousError(f"“{one_line(wanted)}” could be any of {several}; give the file name.")
        offered = [note.name for note in self._notes] + [note.title for note in self._notes]
        near = difflib.get_close_matches(wanted, offered, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else " `fovea note list` shows them all."
        raise NoteNotFoundError(f"There is no note “{one_line(wanted)}”.{hint}")

    def resolve(self, target: str) -> Note | None:
        """The note a wiki link points to, or None where it could be several or is yet to be written."""
        try:
            return self.find(target)
        except (NoteNotFoundError, NoteAmbiguousError):
            return None

    def linking_to(self, name: str) -> tuple[Note, ...]:
        """The notes whose wiki links lead to this one."""
        return tuple(
            note
            for note in self._notes
            if note.name != name
            and any(target is not None and target.name == name for target in map(self._target, note.links))
        )

    def _target(self, link: Link) -> Note | None:
        return self.resolve(link.target)


def _table(notes: Iterable[Note], keys: Callable[[Note], set[str]]) -> _Table:
    table: _Table = defaultdict(list)
    for note in notes:
        for key in keys(note):
            table[key].append(note)
    return table


def _file_names(note: Note) -> set[str]:
    path = PurePosixPath(note.name)
    return {path.stem.casefold(), path.name.casefold(), note.name.casefold()}
