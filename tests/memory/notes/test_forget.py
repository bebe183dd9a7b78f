"""A forgotten note is gone to the last byte, and the proof notices when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from memory.errors import NoteNotFoundError, StoreBusyError
from memory.lessons import Lesson, LessonBook
from memory.notes import NotesFolder
from memory.notes import forget as forget_module
from memory.notes.forget import forget
from memory.notes.index import search, sync
from memory.store import Store

SECRET = "The vault code is seventeen elephants marching north."


@pytest.fixture
def folder(tmp_path: Path) -> NotesFolder:
    return NotesFolder(tmp_path / "notes")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data") as opened:
        yield opened


def everything(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())


def test_file_index_vectors_and_bytes_go(folder: NotesFolder, store: Store) -> None:
    folder.create("vault.md", f"# Vault\n\n{SECRET}\n")
    folder.create("vault.conflict-20260101-000000-abcdef.md", f"{SECRET} Or was it eighteen elephants?\n")
    folder.create("other.md", "# Other\n\nNothing to see; [[vault]].\n")
    sync(folder, store)
    store.put_vectors("m", [(chunk.id, np.ones(8, np.float32)) for chunk in store.pending("m", 10)])
    assert SECRET.encode() in everything(store)
    result = forget(folder, store, "Vault")
    assert result.proved, result.checks
    assert result.files == ("vault.md", "vault.conflict-20260101-000000-abcdef.md")
    assert (result.chunks, result.vectors) == (1, 1)
    assert result.elsewhere == ("other.md (links to it)",)
    assert folder.names() == ["other.md"]
    assert search(store, "elephants") == []
    assert SECRET.encode() not in everything(store)
    assert b"elephants" not in everything(store)
    assert [found.name for found in search(store, "nothing")] == ["other.md"]


def test_without_a_store_the_file_is_all_there_is(folder: NotesFolder) -> None:
    folder.create("vault.md", SECRET)
    result = forget(folder, None, "vault")
    assert result.proved
    assert folder.names() == []


def test_words_that_others_say_too_are_named_and_left(folder: NotesFolder, store: Store) -> None:
    folder.create("vault.md", f"---\ntitle: Vault\n---\n{SECRET}\n")
    folder.create("copy.md", f"---\ntitle: Vault\n---\n{SECRET}\n")
    store.put_document("file", "/book.txt", "A book", SECRET)
    sync(folder, store)
    result = forget(folder, store, "vault.md")
    assert result.proved, result.checks
    assert "copy.md (says the same)" in result.elsewhere
    assert "A book (says the same)" in result.elsewhere
    assert [found.name for found in search(store, "elephants")] == ["copy.md"]


def test_a_note_that_is_not_there(folder: NotesFolder, store: Store) -> None:
    with pytest.raises(NoteNotFoundError):
        forget(folder, store, "nothing")


def test_forgetting_the_lessons_forgets_each(folder: NotesFolder, store: Store) -> None:
    LessonBook(folder).learn(Lesson("Never mention the seventeen elephants again"))
    sync(folder, store)
    assert forget(folder, store, "lessons.md").proved
    assert store.documents(["lesson"]) == []
    assert b"elephants" not in everything(store)


def test_the_proof_fails_when_something_is_left(
    folder: NotesFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check is made to fail once: a proof that cannot fail proves nothing."""
    folder.create("vault.md", SECRET)
    sync(folder, store)
    (store.folder / "stray.log").write_text(f"... {SECRET} ...")
    result = forget(folder, store, "vault")
    assert [check.place for check in result.checks if not check.clean] == ["bytes"]

    folder.create("vault.md", f"{SECRET} Again and again.")
    sync(folder, store)
    monkeypatch.setattr(forget_module, "erase", lambda *_: None)
    result = forget(folder, store, "vault")
    assert {check.place for check in result.checks if not check.clean} >= {"manifest", "word search"}


def test_a_reader_in_the_way_is_told_and_the_file_stays(folder: NotesFolder, store: Store, tmp_path: Path) -> None:
    folder.create("vault.md", SECRET)
    sync(folder, store)
    with Store(tmp_path / "data", read_only=True) as reader:
        connection = reader.database.connection
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM chunks").fetchone()
        store.database.connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreBusyError):
            forget(folder, store, "vault")
        connection.execute("COMMIT")
    assert folder.names() == ["vault.md"]
    assert forget(folder, store, "vault").proved


def test_the_vector_index_goes_with_it(folder: NotesFolder, store: Store) -> None:
    folder.create("vault.md", SECRET)
    sync(folder, store)
    for name in ("chroma", "chroma.damaged-1"):
        (store.folder / name).mkdir()
        (store.folder / name / "data_level0.bin").write_bytes(b"vectors")
    result = forget(folder, store, "vault")
    assert result.proved
    assert "vector index" in {check.place for check in result.checks}
    assert not list(store.folder.glob("chroma*/"))


def test_a_vector_index_in_use_leaves_everything_as_it_was(folder: NotesFolder, store: Store) -> None:
    folder.create("vault.md", SECRET)
    sync(folder, store)
    (store.folder / "chroma").mkdir()
    with FileLock(store.folder / "chroma.lock"), pytest.raises(StoreBusyError, match="vector index"):
        forget(folder, store, "vault")
    assert folder.names() == ["vault.md"]
    assert [found.name for found in search(store, "elephants")] == ["vault.md"]
