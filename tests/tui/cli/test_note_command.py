"""``fovea note``, from the command line down to the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def notes(home: Path) -> Path:
    return home / "data" / "notes"


def test_a_note_from_add_to_forget(fovea: Run, notes: Path) -> None:
    assert fovea("note", "list")[1].startswith("No notes yet")
    code, out, _ = fovea("note", "add", "--yes", "My cat is called Tom")
    assert (code, out) == (0, "Written to MEMORY.md.\n")
    assert (notes / "MEMORY.md").read_text() == "# Memory\n\n- My cat is called Tom\n"
    assert "says so already" in fovea("note", "add", "--yes", "my cats are called Tom")[1]
    fovea("note", "add", "--yes", "--to", "Trip to sea", "The sea was warm and the boats were blue")
    assert fovea("note", "search", "boat")[1].startswith("trip-to-sea.md:3")
    assert fovea("note", "show", "trip to sea")[1].endswith("- The sea was warm and the boats were blue\n")
    assert fovea("note", "path", "Trip to sea")[1].strip() == str(notes / "trip-to-sea.md")
    code, out, _ = fovea("note", "forget", "--yes", "trip to sea")
    assert code == 0
    assert "Forgotten, and proved." in out
    assert fovea("note", "search", "boat")[1] == "No note says that.\n"
    assert b"boats were blue" not in b"".join(p.read_bytes() for p in notes.parent.rglob("*") if p.is_file())
    fovea("note", "rm", "--yes", "MEMORY.md")
    assert list(notes.iterdir()) == []


def test_json_everywhere(fovea: Run) -> None:
    assert json.loads(fovea("note", "add", "--json", "A fact about boats")[1])["written"] is True
    assert json.loads(fovea("note", "list", "--json")[1])["notes"][0]["name"] == "MEMORY.md"
    assert json.loads(fovea("note", "show", "MEMORY", "--json")[1])["text"].endswith("- A fact about boats\n")
    assert json.loads(fovea("note", "search", "boat", "--json")[1])["found"][0]["line"] == 3
    assert json.loads(fovea("note", "forget", "MEMORY", "--json")[1])["proved"] is True


def test_nobody_to_ask_means_nothing_is_done(fovea: Run, notes: Path) -> None:
    code, out, err = fovea("note", "add", "A fact")
    assert code == 1
    assert "+- A fact" in out
    assert "--yes" in err
    assert not notes.exists()


def test_an_answer_decides(fovea: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", lambda _, **__: False)
    assert fovea("note", "add", "A fact")[0] == 1
    assert not notes.exists()
    monkeypatch.setattr(click, "confirm", lambda _, **__: True)
    assert fovea("note", "add", "A fact")[0] == 0
    assert (notes / "MEMORY.md").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "nothing", "CON"])
def test_what_is_not_there_is_one_line(fovea: Run, name: str) -> None:
    for command in (("show", name), ("rm", "--yes", name), ("forget", "--yes", name), ("path", name)):
        code, _, err = fovea("note", *command)
        assert code == 1
        assert len(err.strip().splitlines()) == 1


def test_editing_goes_through_the_same_comparison(fovea: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda text, **_: text + "- mine\n")
    assert fovea("note", "edit", "Plans")[1] == "Written to plans.md.\n"
    assert (notes / "plans.md").read_text() == "# Plans\n\n- mine\n"

    def meanwhile(text: str, **_: object) -> str:
        (notes / "plans.md").write_text("somebody else's\n")
        return text + "- later\n"

    monkeypatch.setattr(click, "edit", meanwhile)
    code, _, err = fovea("note", "edit", "plans")
    assert code == 1
    assert "kept as plans.conflict-" in err
    assert (notes / "plans.md").read_text() == "somebody else's\n"
    assert len(list(notes.glob("plans.conflict-*.md"))) == 1


def test_an_edit_that_does_not_fit_is_kept(fovea: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fovea("note", "add", "--yes", "A fact")
    monkeypatch.setattr(click, "edit", lambda text, **_: text + "word " * 5000)
    code, _, err = fovea("note", "edit", "MEMORY")
    assert code == 1
    assert "tokens" in err
    assert "kept as MEMORY.conflict-" in err
    assert (notes / "MEMORY.md").read_text() == "# Memory\n\n- A fact\n"


def test_foreign_text_is_harmless(fovea: Run, notes: Path) -> None:
    notes.mkdir(parents=True)
    (notes / "bad.md").write_text("# Ti\x1b[31mtle\u202e\n\n\x1b]0;owned\x07[bold]boats[/]\n")
    for command in (("list",), ("show", "bad"), ("search", "boats")):
        _, out, err = fovea("note", *command)
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err


def test_the_budget_is_warned_of(fovea: Run) -> None:
    code, _, err = fovea("note", "add", "--yes", "word " * 220)
    assert code == 0
    assert "of its 300 tokens" in err


def test_a_name_that_cannot_be_is_refused_before_anything_is_typed(
    fovea: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "edit", lambda *_, **__: pytest.fail("the editor was opened"))
    for name in ("a:b.md", "../up.md"):
        code, _, err = fovea("note", "edit", name)
        assert (code, "name" in err) == (1, True), err


def test_several_notes_of_one_title_do_not_make_a_third(
    fovea: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "edit", lambda *_, **__: pytest.fail("the editor was opened"))
    notes.mkdir(parents=True)
    for name in ("one.md", "two.md"):
        (notes / name).write_text("# Plan\n")
    for command in (("edit", "Plan"), ("add", "--yes", "--to", "Plan", "Something new")):
        code, _, err = fovea("note", *command)
        assert (code, "one.md, two.md" in err) == (1, True)
