"""Forgetting a note completely, and proving it.

What has to go: the file and the kept versions of its conflicts, its chunks, their words and their vectors, and the
bytes that a database leaves in pages it no longer uses. The proof looks for all of it again afterwards, down to the
bytes of the files in the data folder.

What it cannot reach and says so: the same words in other notes or documents, past conversations, backups, and what a
disk keeps below the file system.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from memory.errors import StoreBusyError
from memory.notes.folder import LESSONS_NAME, NotesFolder
from memory.notes.index import LESSON, NOTE
from memory.notes.note import Note
from memory.recall.text import query_terms
from memory.store import Document, Store
from memory.store.erase import erase

SAMPLE_BYTES = 24  # shorter pieces of text occur by chance
MAX_SAMPLES = 200
CHROMA = "chroma"  # the folder of the vector index inside the data folder
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One place that was looked at again, and whether anything was left there."""

    place: str
    clean: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed, and the proof."""

    name: str
    files: tuple[str, ...]
    chunks: int
    vectors: int
    checks: tuple[Check, ...]
    elsewhere: tuple[str, ...]
    """Other notes and documents that still say the same or link to the note; they were left alone."""

    @property
    def proved(self) -> bool:
        """Whether every check came out clean."""
        return all(check.clean for check in self.checks)


def forget(folder: NotesFolder, store: Store | None, wanted: str) -> Forgotten:
    """Remove a note everywhere, then look for it everywhere.

    Args:
        folder: the notes.
        store: the store, open for writing; None where there is none.
        wanted: the note's name or title.

    Returns:
        What was removed and every check.

    Raises:
        NoteNotFoundError: there is no such note.
        NoteError: its file cannot be removed.
        StoreError: the store cannot be written; the file is still there then.
    """
    note = folder.find(wanted)
    copies = [folder.read(name) for name in folder.conflicts_of(note.name)]
    documents = _documents(store, note) if store else []
    chunk_ids = _chunk_ids(store, documents) if store else []
    vectors = _count_vectors(store, chunk_ids) if store else 0
    linked = [f"{other.name} (links to it)" for other in folder.backlinks(note.name)]
    index = _drop_vector_index(store, documents) if store else None
    for one in (*copies, note):
        folder.remove(one.name)
    texts = [one.text for one in (note, *copies)]
    checks = [_check_files(folder, [note, *copies])]
    same: list[str] = []
    if store:
        samples, same = _only_here(folder, store, _samples(texts))
        # A chunk that another document holds as well is theirs; it stays and is named in `elsewhere`.
        gone = [chunk_id for chunk_id in chunk_ids if chunk_id not in {chunk.id for chunk in store.chunks(chunk_ids)}]
        checks += [
            _check_manifest(store, note),
            _check_rows(store, gone),
            _check_words(store, note, documents),
            *([index] if index else []),
            _check_bytes(store, samples),
        ]
    return Forgotten(
        note.name,
        tuple(one.name for one in (note, *copies)),
        len(chunk_ids),
        vectors,
        tuple(checks),
        tuple(dict.fromkeys(linked + [f"{name} (says the same)" for name in same])),
    )


def _documents(store: Store, note: Note) -> list[Document]:
    found = [store.document(NOTE, note.name)]
    if note.name == LESSONS_NAME:
        found += [one for one in store.documents([LESSON]) if one.uri.startswith(f"{LESSONS_NAME}#")]
    return [document for document in found if document is not None]


def _chunk_ids(store: Store, documents: Sequence[Document]) -> list[int]:
    return sorted({chunk.id for document in documents for _, chunk in store.document_chunks(document.id)})


def _drop_vector_index(store: Store, documents: Sequence[Document]) -> Check | None:
    """Purge the store, and remove the vector index derived from it: a graph keeps deleted vectors as tombstones.

    The index is made again from the stored vectors when it is next wanted. It goes first, so that an index somebody
    else holds open leaves everything as it was.
    """
    folders = [store.folder / CHROMA, *sorted(store.folder.glob(f"{CHROMA}.damaged-*"))]
    folders = [folder for folder in folders if folder.is_dir()]
    lock = FileLock(store.folder / f"{CHROMA}.lock")
    named = [(document.kind, document.uri) for document in documents]
    if not folders:
        erase(store, named)
        return None
    try:
        with lock.acquire(timeout=0):
            for folder in folders:
                shutil.rmtree(folder)
            erase(store, named)
    except Timeout:
        raise StoreBusyError("Another fovea holds the vector index; close it and forget the note again.") from None
    return Check(
        "vector index", not any(folder.exists() for folder in folders), "removed; it is made again when needed"
    )


def _check_files(folder: NotesFolder, notes: Iterable[Note]) -> Check:
    left = [note.name for note in notes if Path(folder.root, note.name).exists()]
    return Check("files", not left, f"still there: {', '.join(left)}" if left else "the file and its copies are gone")


def _check_manifest(store: Store, note: Note) -> Check:
    left = _documents(store, note)
    return Check("manifest", not left, f"{len(left)} entries left" if left else "no entry by that name")


def _check_rows(store: Store, gone: Sequence[int]) -> Check:
    connection = store.database.connection
    left = {
        table: sum(connection.execute(query, (chunk_id,)).fetchone()[0] for chunk_id in gone)
        for table, query in (
            ("chunks", "SELECT count(*) FROM chunks WHERE id = ?"),
            ("words", "SELECT count(*) FROM words WHERE rowid = ?"),
            ("vectors", "SELECT count(*) FROM vectors WHERE chunk_id = ?"),
        )
    }
    detail = ", ".join(f"{count} {table}" for table, count in left.items())
    return Check("index", not any(left.values()), f"{detail} left of {len(gone)} chunks")


def _check_words(store: Store, note: Note, documents: Sequence[Document]) -> Check:
    ids = {document.id for document in documents}
    hits = store.search_words(query_terms(note.body)[:64], 50, private=True)
    chunks = store.chunks([hit.chunk_id for hit in hits])
    left = sum(1 for chunk in chunks for source in chunk.sources if source.document.id in ids)
    return Check("word search", left == 0, f"{left} hits lead to it when its own words are searched")


def _check_bytes(store: Store, samples: Sequence[bytes]) -> Check:
    files = [path for path in sorted(store.folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    left = [path.name for path in files if _contains(path, samples)]
    detail = f"found in {', '.join(left)}" if left else f"{len(samples)} passages looked for in {len(files)} files"
    return Check("bytes", not left, detail)


def _count_vectors(store: Store, chunk_ids: Sequence[int]) -> int:
    connection = store.database.connection
    query = "SELECT count(*) FROM vectors WHERE chunk_id = ?"
    return sum(int(connection.execute(query, (chunk_id,)).fetchone()[0]) for chunk_id in chunk_ids)


def _only_here(folder: NotesFolder, store: Store, samples: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """Split off the samples that are somebody else's words as well, and name those who say them."""
    notes = {note.name: note.text.encode() for note in folder.notes()}
    own: list[bytes] = []
    others: list[str] = []
    for sample in samples:
        holders = [name for name, text in notes.items() if sample in text]
        hits = store.search_words(query_terms(sample.decode(errors="ignore")), 20, private=True)
        for chunk in store.chunks([hit.chunk_id for hit in hits]):
            if sample in chunk.text.encode("utf-8", "surrogatepass"):
                holders += [source.document.title or source.document.uri for source in chunk.sources]
        others += holders
        own += [] if holders else [sample]
    return own, others


def _samples(texts: Iterable[str]) -> list[bytes]:
    """Pieces of the lines long enough not to occur by chance."""
    lines = dict.fromkeys(line.strip().encode() for text in texts for line in text.split("\n"))
    return [line[: 4 * SAMPLE_BYTES] for line in lines if len(line) >= SAMPLE_BYTES][:MAX_SAMPLES]


def _contains(path: Path, samples: Sequence[bytes]) -> bool:
    overlap = 4 * SAMPLE_BYTES
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            window = tail + block
            if any(sample in window for sample in samples):
                return True
            tail = window[-overlap:]
    return False
