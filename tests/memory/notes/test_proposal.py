"""Changes shown before they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory.errors import NoteConflictError, NoteError
from memory.notes import MEMORY_NAME, NotesFolder, apply, propose, propose_text


@pytest.fixture
def folder(tmp_path: Path) -> NotesFolder:
    return NotesFolder(tmp_path / "notes")


def test_the_first_memory(folder: NotesFolder) -> None:
    proposal = propose(folder, "My cat is Tom")
    assert proposal.file == MEMORY_NAME
    assert proposal.new_text == "# Memory\n\n- My cat is Tom\n"
    assert proposal.diff.startswith("--- /dev/null\n+++ b/MEMORY.md\n")
    assert "+- My cat is Tom\n" in proposal.diff
    assert folder.names() == []  # nothing is written before it is approved
    assert apply(folder, proposal).text == proposal.new_text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- a\n", "- a\n- new\n"),
        ("- a", "- a\n- new\n"),
        ("- a\n\n\n", "- a\n- new\n"),
        ("# Memory\n", "# Memory\n\n- new\n"),
        ("Some text.\n", "Some text.\n\n- new\n"),
        ("- a\r\n", "- a\r\n- new\r\n"),
        ("\n", "# Memory\n\n- new\n"),
    ],
)
def test_a_memory_joins_what_is_there(folder: NotesFolder, before: str, after: str) -> None:
    folder.root.mkdir()
    (folder.root / MEMORY_NAME).write_bytes(before.encode())
    apply(folder, propose(folder, "new"))
    assert (folder.root / MEMORY_NAME).read_bytes().decode() == after


def test_what_is_known_is_not_written_twice(folder: NotesFolder) -> None:
    folder.create("pets.md", "# Pets\n\n* my cats are called Tom.\n")
    proposal = propose(folder, "My cat is called Tom")
    assert not proposal.needed
    assert proposal.file == "pets.md"
    assert apply(folder, proposal).name == "pets.md"
    assert folder.names() == ["pets.md"]


def test_a_private_note_is_not_quoted_in_a_proposal(folder: NotesFolder) -> None:
    folder.create("diary.md", "---\nprivate: true\n---\nMy cat is Tom\n")
    assert propose(folder, "My cat is Tom").file == MEMORY_NAME


def test_a_named_note_is_used_or_begun(folder: NotesFolder) -> None:
    folder.create("pets.md", "# Our pets\n")
    assert propose(folder, "Tom is grey", file="our pets").file == "pets.md"
    begun = propose(folder, "The sea is warm", file="Trip to Sea")
    assert (begun.file, begun.new_text) == ("trip-to-sea.md", "# Trip to sea\n\n- The sea is warm\n")
    with pytest.raises(NoteError):
        propose(folder, "x y", file="../x.md")


def test_when_memory_is_full_a_topic_note_takes_it(tmp_path: Path) -> None:
    folder = NotesFolder(tmp_path, memory_budget=6, count_tokens=lambda text: len(text.split()))
    apply(folder, propose(folder, "one"))
    proposal = propose(folder, "two three four")
    assert proposal.file == "remembered.md"
    assert "no room" in proposal.reason
    apply(folder, proposal)
    assert folder.names() == [MEMORY_NAME, "remembered.md"]


def test_a_proposal_overtaken_by_an_edit_is_kept_beside_it(folder: NotesFolder) -> None:
    folder.create(MEMORY_NAME, "- a\n")
    proposal = propose(folder, "new")
    (folder.root / MEMORY_NAME).write_text("- edited\n")
    with pytest.raises(NoteConflictError):
        apply(folder, proposal)
    assert folder.read(MEMORY_NAME).text == "- edited\n"
    assert folder.read(folder.conflicts_of(MEMORY_NAME)[0]).text == "- a\n- new\n"


def test_hidden_characters_do_not_reach_the_file(folder: NotesFolder) -> None:
    assert propose(folder, "a\u202eb\u200b\U000e0041c").new_text == "# Memory\n\n- abc\n"


def test_several_lines_stay_one_item(folder: NotesFolder) -> None:
    assert propose(folder, "list:\n1. milk\n\n2. bread").new_text.endswith("- list:\n  1. milk\n  2. bread\n")


def test_nothing_is_nothing(folder: NotesFolder) -> None:
    with pytest.raises(NoteError):
        propose(folder, "  …  ")


def test_a_whole_text_can_be_proposed(folder: NotesFolder) -> None:
    folder.create("a.md", "one\ntwo")
    proposal = propose_text(folder, "a.md", "one\n2\n", "You edited it.")
    assert "-two\n\\ No newline at end of file\n+2\n" in proposal.diff
    assert apply(folder, proposal).text == "one\n2\n"
    assert not propose_text(folder, "a.md", "one\n2\n").needed
