"""``fovea kb``: what people see, exit codes, JSON; by words only, as on a machine without an embedding model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tui.commands.kb import kb


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(kb, [str(argument) for argument in arguments])


def test_the_life_of_a_document(docs: Path) -> None:
    path = docs / "gate.md"
    path.write_text("# Gate\n\nunmistakable words\n", encoding="utf-8")
    added = run("add", docs, "--words-only")
    assert added.exit_code == 0 and "1 added" in added.output
    assert str(path) in run("list").output
    found = run("search", "unmistakable", "--words-only")
    assert f"[1] {path}:1" in found.output and "· words" in found.output
    shown = run("show", path)
    assert "unmistakable words" in shown.output and "1 chunks" in shown.output
    path.write_text("# Gate\n\nother words\n", encoding="utf-8")
    assert json.loads(run("add", docs, "--words-only", "--json").output)["updated"] == 1
    assert "Nothing found." in run("search", "unmistakable", "--words-only").output
    assert "all well" in run("verify").output
    assert run("rm", path).exit_code == 0
    assert "No documents yet" in run("list").output


def test_what_is_left_out_has_its_own_exit_code_and_reason(docs: Path) -> None:
    (docs / "good.md").write_text("# Good\n\ntext\n", encoding="utf-8")
    (docs / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    added = run("add", docs, "--words-only")
    assert added.exit_code == 4 and "left out" in added.output and "not a readable PDF" in added.output
    failed = json.loads(run("list", "--failed", "--json").output)["documents"]
    assert [Path(one["uri"]).name for one in failed] == ["bad.pdf"]
    nothing = run("add", docs / "missing.md", "--words-only")
    assert nothing.exit_code == 1 and "no such file" in nothing.output


def test_json_everywhere_is_one_ascii_object(docs: Path) -> None:
    path = docs / "заметка.md"
    path.write_text("# Заметка\n\nквантование\n", encoding="utf-8")
    for command in (
        ("add", docs, "--words-only"),
        ("list",),
        ("search", "квантование", "--words-only"),
        ("show", path),
        ("stats",),
        ("verify",),
        ("rm", path),
    ):
        done = run(*command, "--json")
        assert done.exit_code == 0, done.output
        assert done.output.isascii() and isinstance(json.loads(done.output), dict)


def test_foreign_names_and_texts_cannot_reach_the_terminal(docs: Path) -> None:
    path = docs / "evil\x1b[31mname.md"
    path.write_text("# Evil\n\nfind \x1b]0;title\x07 me\u202e\n", encoding="utf-8")
    run("add", docs, "--words-only")
    for command in (("list",), ("search", "find", "--words-only"), ("show", path)):
        output = run(*command).output
        assert output.strip() and "\x1b" not in output and "\u202e" not in output and "\x07" not in output


def test_unknown_documents_and_empty_bases_say_what_to_do() -> None:
    assert "kb list" in run("show", "nothing").output and run("show", "nothing").exit_code == 1
    assert run("rm", "nothing").exit_code == 1
    assert "kb add FOLDER" in run("watch").output
    assert run("search", "--words-only").exit_code == 2


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "memory.db").write_bytes(b"not a database " * 500)
    done = run("stats")
    assert done.exit_code == 1 and "damaged" in done.output and "Traceback" not in done.output


def test_an_empty_name_is_not_the_current_folder(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (docs / "one.md").write_text("# One\n\ntext\n", encoding="utf-8")
    run("add", docs, "--words-only")
    monkeypatch.chdir(docs)
    for command in ("add", "rm", "refresh", "show"):
        refused = run(command, "")
        assert refused.exit_code == 1 and "is empty" in refused.output, command
    assert "one.md" in run("list").output
