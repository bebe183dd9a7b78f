"""The index follows the files, with no embedding model anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.lessons import Lesson, LessonBook
from memory.notes import LESSONS_NAME, MEMORY_NAME, NotesFolder
from memory.notes.index import search, sync
from memory.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> NotesFolder:
    return NotesFolder(tmp_path / "notes")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data") as opened:
        yield opened


def test_notes_are_found_by_words_of_any_form(folder: NotesFolder, store: Store) -> None:
    folder.create("cats.md", "---\ntags: [pets]\n---\n# Cats\n\nTom is sleeping.\n")
    folder.create("ru.md", "# Заметка\n\nКвантованные веса моделей.\n")
    assert set(sync(folder, store).changed) == {"cats.md", "ru.md"}
    assert [found.name for found in search(store, "sleep")] == ["cats.md"]
    assert [found.name for found in search(store, "квантованных моделях")] == ["ru.md"]
    place = search(store, "sleeping Tom")[0]
    assert (place.title, place.line, place.text) == ("Cats", 6, "Tom is sleeping.")


def test_spans_open_at_the_place_in_the_file(folder: NotesFolder, store: Store) -> None:
    text = "---\ntitle: A\nprivate: false\n---\n\n# One\n\nfirst part\n\n# Two\n\nsecond part\n"
    folder.create("a.md", text)
    sync(folder, store)
    document = store.document("note", "a.md")
    assert document is not None
    for placement, chunk in store.document_chunks(document.id):
        assert text[placement.char_start : placement.char_end].strip() == chunk.text.strip()
        assert text.count("\n", 0, placement.char_start) + 1 == placement.line_start
        assert "private" not in chunk.text


def test_only_what_changed_is_written(folder: NotesFolder, store: Store) -> None:
    note = folder.create("a.md", "alpha")
    folder.create("b.md", "beta")
    sync(folder, store)
    assert sync(folder, store).changed == ()
    folder.write("a.md", "gamma", note.digest)
    folder.remove("b.md")
    synced = sync(folder, store)
    assert (synced.changed, synced.removed) == (("a.md",), ("b.md",))
    assert search(store, "alpha") == []
    assert search(store, "beta") == []
    assert [found.name for found in search(store, "gamma")] == ["a.md"]


def test_private_notes_are_only_for_the_person(folder: NotesFolder, store: Store) -> None:
    note = folder.create("diary.md", "---\nprivate: true\n---\nsecret garden")
    sync(folder, store)
    assert [(found.name, found.private) for found in search(store, "garden")] == [("diary.md", True)]
    assert search(store, "garden", private=False) == []
    assert store.search_words(["garden"], 10) == []
    folder.write("diary.md", "secret garden", note.digest)
    sync(folder, store)
    assert [found.private for found in search(store, "garden", private=False)] == [False]


def test_the_same_words_in_a_private_and_an_open_note(folder: NotesFolder, store: Store) -> None:
    folder.create("diary.md", "---\ntitle: T\nprivate: true\n---\nsecret garden")
    folder.create("open.md", "---\ntitle: T\n---\nsecret garden")
    sync(folder, store)
    assert [found.name for found in search(store, "garden", private=False)] == ["open.md"]


def test_lessons_are_documents_of_their_own(folder: NotesFolder, store: Store) -> None:
    book = LessonBook(folder, today=lambda: "2026-01-02")
    book.learn(Lesson("Ask before deleting files", when="cleaning"))
    book.learn(Lesson("Answer in Russian"))
    synced = sync(folder, store)
    assert len(synced.changed) == 2
    assert [document.kind for document in store.documents(["lesson"])] == ["lesson", "lesson"]
    assert store.document("note", LESSONS_NAME) is None
    book.learn(Lesson("Ask before deleting files"))
    assert len(sync(folder, store).changed) == 1
    book.forget(book.lessons()[1].key)
    assert len(sync(folder, store).removed) == 1
    assert [found.title for found in search(store, "deleting")] == ["Ask before deleting files"]


def test_kept_versions_of_conflicts_are_not_indexed(folder: NotesFolder, store: Store) -> None:
    folder.create("a.md", "alpha")
    folder.create("a.conflict-20260101-000000-abcdef.md", "zeta")
    assert sync(folder, store).changed == ("a.md",)
    assert search(store, "zeta") == []


def test_a_file_that_cannot_be_read_keeps_what_was_known(folder: NotesFolder, store: Store, tmp_path: Path) -> None:
    folder.create("a.md", "alpha")
    sync(folder, store)
    (folder.root / "a.md").unlink()
    (folder.root / "a.md").symlink_to(tmp_path / "elsewhere.md")
    synced = sync(folder, store)
    assert [problem.name for problem in synced.problems] == ["a.md"]
    assert synced.removed == ()


def test_memory_is_searchable_too(folder: NotesFolder, store: Store) -> None:
    folder.create(MEMORY_NAME, "- The server is called fra-2\n")
    sync(folder, store)
    assert [found.name for found in search(store, "server")] == [MEMORY_NAME]


def test_a_number_sign_in_a_name_belongs_to_the_name(folder: NotesFolder, store: Store) -> None:
    folder.create("c#.md", "# Sharp\n\nrecords hold values")
    sync(folder, store)
    assert [found.name for found in search(store, "records")] == ["c#.md"]
