"""Notes on disk: found, written, never lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.errors import (
    NoteAmbiguousError,
    NoteBudgetError,
    NoteConflictError,
    NoteError,
    NoteNotFoundError,
    PathRefusedError,
)
from memory.notes import MEMORY_NAME, NotesFolder, is_conflict, swap
from memory.notes.budget import estimate_tokens


@pytest.fixture
def folder(tmp_path: Path) -> NotesFolder:
    return NotesFolder(tmp_path / "notes")


def test_an_empty_folder_is_no_error(folder: NotesFolder) -> None:
    assert folder.names() == []
    assert folder.memory().text == ""
    assert folder.listing().problems == ()


def test_notes_are_created_listed_and_read(folder: NotesFolder) -> None:
    folder.create("b.md", "# Bee\n")
    folder.create("deep/a.md", "text")
    folder.create(MEMORY_NAME, "- one fact")
    (folder.root / ".hidden.md").write_text("x")
    (folder.root / "image.png").write_bytes(b"x")
    assert folder.names() == [MEMORY_NAME, "b.md", "deep/a.md"]
    assert folder.read("b.md").title == "Bee"
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert (folder.root / "b.md").stat().st_mode & 0o777 == 0o600
    assert not list(folder.root.glob(".*.tmp"))


@pytest.mark.parametrize("wanted", ["trip-to-sea.md", "trip-to-sea", "Trip to Sea", "trip to sea", "TRIP-TO-SEA"])
def test_a_note_is_found_by_any_of_its_names(folder: NotesFolder, wanted: str) -> None:
    folder.create("trip-to-sea.md", "# Trip to Sea\n")
    assert folder.find(wanted).name == "trip-to-sea.md"


def test_what_is_not_found_offers_the_nearest(folder: NotesFolder) -> None:
    folder.create("holiday.md", "text")
    with pytest.raises(NoteNotFoundError, match=r"holiday\.md"):
        folder.find("holidya.md")
    folder.create("x/plan.md", "# Plan")
    folder.create("y/plan.md", "# Plan")
    with pytest.raises(NoteAmbiguousError, match="could be any of"):
        folder.find("plan")


def test_an_empty_name_finds_no_note(folder: NotesFolder) -> None:
    folder.create("untitled.md", "")
    for name in ("", " "):
        with pytest.raises(NoteNotFoundError, match="is empty"):
            folder.find(name)


def test_wiki_links_resolve_both_ways(folder: NotesFolder) -> None:
    folder.create("ann.md", "# Ann\nfriend of [[bob]] and [[nobody]]")
    folder.create("people/bob.md", "# Bob\nsee [[Ann|her]]")
    assert list(folder.links(folder.read("ann.md")).values()) == [folder.read("people/bob.md"), None]
    assert [note.name for note in folder.backlinks("ann.md")] == ["people/bob.md"]
    out = folder.create("out.md", "[[../../etc/passwd]]")
    assert list(folder.links(out).values()) == [None]


def test_an_edit_made_outside_is_never_overwritten(folder: NotesFolder) -> None:
    read = folder.create("a.md", "first\n")
    (folder.root / "a.md").write_text("edited outside\n")
    with pytest.raises(NoteConflictError) as caught:
        folder.write("a.md", "ours\n", read.digest)
    assert (folder.root / "a.md").read_text() == "edited outside\n"
    kept = folder.conflicts_of("a.md")
    assert [folder.read(name).text for name in kept] == ["ours\n"]
    assert kept[0] in str(caught.value)
    assert any(is_conflict(problem.name) for problem in folder.listing().problems)
    assert folder.find("a").name == "a.md"


def test_a_note_removed_outside_is_kept_as_a_conflict(folder: NotesFolder) -> None:
    read = folder.create("a.md", "first\n")
    (folder.root / "a.md").unlink()
    with pytest.raises(NoteConflictError, match="removed"):
        folder.write("a.md", "ours\n", read.digest)
    assert not (folder.root / "a.md").exists()
    assert folder.read(folder.conflicts_of("a.md")[0]).text == "ours\n"


def test_creating_over_an_existing_note_is_refused(folder: NotesFolder) -> None:
    folder.create("a.md", "first")
    with pytest.raises(NoteConflictError):
        folder.create("a.md", "second")
    assert folder.read("a.md").text == "first"


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "link"])
def test_an_edit_between_check_and_write_survives(
    folder: NotesFolder, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """The file changes after the comparison, in place, as an editor without renames would do."""
    read = folder.create("a.md", "first\n")
    target = folder.root / "a.md"
    real = swap._exchange
    edits = iter(["edited in between\n"])

    def late(one: Path, other: Path) -> bool:
        for edit in edits:
            target.write_text(edit)
        return real(one, other) if exchange else False

    monkeypatch.setattr(swap, "_exchange", late)
    with pytest.raises(NoteConflictError):
        folder.write("a.md", "ours\n", read.digest)
    assert target.read_text() == "edited in between\n"
    assert [folder.read(name).text for name in folder.conflicts_of("a.md")] == ["ours\n"]
    assert not list(folder.root.glob(".*"))


def test_two_writers_lose_nothing(folder: NotesFolder) -> None:
    """Each of many concurrent versions ends in the note, in its history of successes, or in a kept copy."""
    folder.create("a.md", "start\n")
    written: list[str] = []

    def work(worker: int) -> None:
        for number in range(8):
            text = f"worker {worker} number {number}\n"
            base = folder.read("a.md")
            try:
                folder.write("a.md", base.text + text, base.digest)
            except NoteConflictError:
                continue
            written.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final = folder.read("a.md").text
    assert all(text in final for text in written)
    kept = "".join(folder.read(name).text for name in folder.conflicts_of("a.md"))
    for worker in range(4):
        for number in range(8):
            assert f"worker {worker} number {number}\n" in final + kept


@pytest.mark.parametrize("fault", ["fsync", "chmod"])
def test_a_failing_disk_leaves_the_note_as_it_was(
    folder: NotesFolder, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    read = folder.create("a.md", "first\n")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target: tuple[object, str] = (os, "fsync") if fault == "fsync" else (Path, "chmod")
    monkeypatch.setattr(*target, fail)
    with pytest.raises(NoteError, match="No space left"):
        folder.write("a.md", "second\n", read.digest)
    with pytest.raises(NoteError, match="No space left"):
        folder.create("b.md", "text\n")
    assert folder.names() == ["a.md"]
    assert folder.read("a.md").text == "first\n"
    assert [path.name for path in folder.root.iterdir()] == ["a.md"]


def test_the_mode_of_a_note_survives_a_write(folder: NotesFolder) -> None:
    read = folder.create("a.md", "first\n")
    (folder.root / "a.md").chmod(0o640)
    folder.write("a.md", "second\n", read.digest)
    assert (folder.root / "a.md").stat().st_mode & 0o777 == 0o640


def test_the_budget_warns_then_refuses_and_cuts_nothing(tmp_path: Path) -> None:
    folder = NotesFolder(tmp_path, memory_budget=10, count_tokens=lambda text: len(text.split()))
    note = folder.create(MEMORY_NAME, "one two three")
    assert folder.memory().warning == ""
    note = folder.write(MEMORY_NAME, "w " * 8, note.digest)
    assert "8 of its 10" in folder.memory().warning
    with pytest.raises(NoteBudgetError, match="may take 10"):
        folder.write(MEMORY_NAME, "w " * 11, note.digest)
    assert folder.read(MEMORY_NAME).text == "w " * 8
    (tmp_path / MEMORY_NAME).write_text("w " * 50)  # an editor asks nobody
    with pytest.raises(NoteBudgetError, match="takes 50"):
        folder.memory()


def test_the_estimate_errs_high_for_english_and_russian() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("word " * 100) >= 100
    assert estimate_tokens("слово " * 100) >= 250


@pytest.mark.parametrize("name", ["../a.md", "/tmp/a.md", "a.txt", "CON.md", ".x.md", "a\x00.md"])
def test_names_are_confined(folder: NotesFolder, name: str) -> None:
    actions: list[Callable[[], object]] = [lambda: folder.create(name, "x"), lambda: folder.write(name, "x", "")]
    for action in actions:
        with pytest.raises(PathRefusedError):
            action()


def test_a_note_that_links_out_of_the_folder_is_a_problem_not_a_leak(folder: NotesFolder, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    folder.create("a.md", "text")
    (folder.root / "out.md").symlink_to(tmp_path / "secret.md")
    listing = folder.listing()
    assert [note.name for note in listing.notes] == ["a.md"]
    assert [problem.name for problem in listing.problems] == ["out.md"]


def test_a_note_in_another_encoding_is_not_written_over(folder: NotesFolder) -> None:
    folder.create("a.md", "x")
    (folder.root / "a.md").write_bytes("Привет".encode("cp1251"))
    with pytest.raises(NoteError, match="UTF-8"):
        folder.write("a.md", "new", folder.read("a.md").digest)
    assert (folder.root / "a.md").read_bytes() == "Привет".encode("cp1251")


def test_removal(folder: NotesFolder) -> None:
    folder.create("a.md", "x")
    folder.remove("a.md")
    assert folder.names() == []
    with pytest.raises(NoteNotFoundError):
        folder.remove("a.md")
