"""Names that try to leave their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.errors import PathRefusedError
from memory.paths import confined, read_confined, slug

HOSTILE = [
    "",
    ".",
    "..",
    "../x.md",
    "a/../../x.md",
    "a/./b.md",
    "a//b.md",
    "/etc/passwd",
    "\\\\server\\share\\x",
    "..\\x.md",
    "C:\\x.md",
    "c:x.md",
    "~/x.md",
    "~root/x",
    ".hidden",
    ".git/config",
    "a/.env",
    "x\x00.md",
    "x.md\x00.txt",
    "x\n.md",
    "CON",
    "con.md",
    "a/NUL.txt",
    "COM1",
    "lpt9.md",
    "ＣＯＮ",
    "x.md ",
    "x.md.",
    " x.md",
    "x:stream",
    "x.md::$DATA",
    "x?.md",
    "x*.md",
    'x".md',
    "x|y",
    "a\u202egpj.md",
    "a\u200b.md",
    "a\uff0fb.md",
    "a\u2024\u2024/b",
    "x" * 300,
    "/".join("a" * 20),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PathRefusedError):
        confined(tmp_path, name)


@pytest.mark.parametrize("name", ["a.md", "a/b.md", "заметка.md", "日本.md", "a b.md", "v1.2.md", "a'b.md", "x(1).md"])
def test_plain_names_are_accepted(tmp_path: Path, name: str) -> None:
    assert confined(tmp_path, name) == tmp_path / name


def test_a_second_spelling_of_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MEMORY.md").write_text("x")
    with pytest.raises(PathRefusedError, match=r"spelled “MEMORY\.md”"):
        confined(tmp_path, "memory.md")
    (tmp_path / "café.md").write_text("x")
    with pytest.raises(PathRefusedError):
        confined(tmp_path, "cafe\u0301.md")
    assert confined(tmp_path, "MEMORY.md").exists()


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "notes", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (root / "file.md").symlink_to(outside / "secret.md")
    (root / "folder").symlink_to(outside)
    (root / "dangling.md").symlink_to(root / "nothing.md")
    (root / "loop.md").symlink_to(root / "loop.md")
    for name in ("file.md", "folder/secret.md", "folder/new.md", "dangling.md", "loop.md"):
        with pytest.raises(PathRefusedError):
            confined(root, name)
        with pytest.raises(PathRefusedError):
            read_confined(root, name, 100)


def test_a_sibling_folder_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    root, sibling = tmp_path / "notes", tmp_path / "notes-private"
    root.mkdir()
    sibling.mkdir()
    (sibling / "x.md").write_text("x")
    (root / "link").symlink_to(sibling)
    with pytest.raises(PathRefusedError):
        confined(root, "link/x.md")


def test_links_inside_the_folder_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text("text")
    (tmp_path / "alias.md").symlink_to(tmp_path / "real.md")
    assert read_confined(tmp_path, "alias.md", 100) == b"text"


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "big.md").write_bytes(b"x" * 101)
    with pytest.raises(PathRefusedError, match="regular"):
        read_confined(tmp_path, "pipe.md", 100)
    with pytest.raises((PathRefusedError, OSError)):
        read_confined(tmp_path, "folder.md", 100)
    with pytest.raises(PathRefusedError, match="larger"):
        read_confined(tmp_path, "big.md", 100)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("My First Note", "my-first-note"),
        ("Рост чувствительности", "рост-чувствительности"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "con-note"),
        ("…", "note"),
        ("a\u202eb", "ab"),
    ],
)
def test_slugs(title: str, name: str) -> None:
    assert slug(title) == name


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=120))
def test_every_slug_is_an_acceptable_name(title: str) -> None:
    root = Path("/nonexistent-folder-for-names")
    assert confined(root, slug(title) + ".md").parent == root


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab./\\:~ \x00\u2024\uff0e\uff0f", max_size=12))
def test_no_name_leads_out(name: str) -> None:
    root = Path("/nonexistent-folder-for-names")
    try:
        path = confined(root, name)
    except PathRefusedError:
        return
    assert root in path.parents
