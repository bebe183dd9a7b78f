"""Notes in the store: the index follows the files, never the other way round.

Every note is a document of kind ``note`` named by its path in the folder; every lesson of ``lessons.md`` is a document
of its own, because one lesson is what a situation recalls. Private notes are stored as private: the person's own
search finds them, recall never does. Kept versions of conflicts are not indexed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from memory.lessons import Lesson, parse_lessons
from memory.notes.conflict import is_conflict
from memory.notes.folder import LESSONS_NAME, NotesFolder, Problem
from memory.notes.note import Note, digest_of
from memory.recall.text import index_terms, query_terms
from memory.store import Chunk, DocumentInfo, Piece, Store

NOTE = "note"
LESSON = "lesson"


@dataclass(frozen=True, slots=True)
class Synced:
    """What one pass over the folder changed in the store."""

    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Found:
    """One note that answers a search, with the place."""

    name: str
    title: str
    line: int
    text: str
    score: float
    private: bool


def sync(folder: NotesFolder, store: Store) -> Synced:
    """Make the store hold exactly what the folder holds; unchanged notes cost a comparison of digests.

    Args:
        folder: the notes.
        store: a store open for writing.

    Returns:
        Which documents were written and which removed, and which files could not be read.
    """
    listing = folder.listing()
    unreadable = {problem.name for problem in listing.problems} - {note.name for note in listing.notes}
    known = {(document.kind, document.uri): document for document in store.documents([NOTE, LESSON])}
    changed: list[str] = []
    seen: set[tuple[str, str]] = set()
    for note in listing.notes:
        if is_conflict(note.name):
            continue
        for kind, uri, digest in _documents_of(note):
            seen.add((kind, uri))
            before = known.get((kind, uri))
            if before and (before.content_hash, before.private, before.root) == (
                digest,
                note.private,
                str(folder.root),
            ):
                continue
            _put(store, folder, note, kind, uri, digest)
            changed.append(uri)
    removed = [
        (kind, uri)
        for kind, uri in known
        # A file that is there but cannot be read just now keeps what was known of it.
        if (kind, uri) not in seen and _file_of(kind, uri) not in unreadable
    ]
    for kind, uri in removed:
        store.remove_document(kind, uri)
    return Synced(tuple(changed), tuple(uri for _, uri in removed), listing.problems)


def search(store: Store, query: str, limit: int = 10, *, private: bool = True) -> list[Found]:
    """Search the notes by words, for the person: private notes are found as well.

    Args:
        store: the store, in step with the folder.
        query: words in any form.
        limit: most results.
        private: whether private notes are searched.

    Returns:
        Places, best first.
    """
    terms = query_terms(query)
    hits = store.search_words(terms, limit, [NOTE, LESSON], private=private)
    scores = {hit.chunk_id: hit.score for hit in hits}
    found = _places(store.chunks([hit.chunk_id for hit in hits]), scores, set(terms), private=private)
    return list(found)[:limit]


def _places(chunks: Iterable[Chunk], scores: dict[int, float], terms: set[str], *, private: bool) -> Iterable[Found]:
    for chunk in chunks:
        lines = chunk.text.split("\n")
        # The line that says most of what was asked for, not the first of its chunk.
        said = [len(terms & set(index_terms(line).split())) for line in lines]
        best = said.index(max(said))
        for source in chunk.sources:
            document = source.document
            if document.kind not in {NOTE, LESSON} or (document.private and not private):
                continue
            yield Found(
                name=_file_of(document.kind, document.uri),
                title=document.title,
                line=source.placement.line_start + best,
                text=lines[best].strip(),
                score=scores[chunk.id],
                private=document.private,
            )


def _file_of(kind: str, uri: str) -> str:
    """The file a document stands in; a lesson's key comes after it, while a note's own name may hold the sign."""
    return uri.rpartition("#")[0] if kind == LESSON else uri


def _documents_of(note: Note) -> Iterable[tuple[str, str, str]]:
    if note.name != LESSONS_NAME:
        yield NOTE, note.name, note.digest
        return
    for lesson in parse_lessons(note.text):
        yield LESSON, f"{note.name}#{lesson.key}", digest_of(note.text[lesson.start : lesson.end].encode())


def _put(store: Store, folder: NotesFolder, note: Note, kind: str, uri: str, digest: str) -> None:
    info = DocumentInfo(
        title=note.title,
        content_hash=digest,
        size=len(note.text.encode()),
        mtime_ns=int(note.modified * 1e9),
        format="markdown",
        root=str(folder.root),
        private=note.private,
    )
    if kind == LESSON:
        key = uri.partition("#")[2]
        lesson = next(lesson for lesson in parse_lessons(note.text) if lesson.key == key)
        store.put_pieces(kind, uri, [_piece(note, lesson)], _titled(info, lesson.rule), titled=False)
        return
    # The spans of a note count from the start of the file, so that a citation opens at the place in an editor.
    blank = "\n" * note.text[: len(note.text) - len(note.body)].count("\n")
    before = len(note.text) - len(note.body)
    padded = blank.rjust(before) + note.body if before else note.body
    store.put_document(kind, uri, note.title, padded, content_hash=digest, private=note.private, info=info)


def _piece(note: Note, lesson: Lesson) -> Piece:
    line = note.text.count("\n", 0, lesson.start) + 1
    return Piece(lesson.as_text(), lesson.start, lesson.end, (), line)


def _titled(info: DocumentInfo, title: str) -> DocumentInfo:
    return DocumentInfo(
        title=title,
        content_hash=info.content_hash,
        size=info.size,
        mtime_ns=info.mtime_ns,
        format=info.format,
        root=info.root,
        private=info.private,
    )
