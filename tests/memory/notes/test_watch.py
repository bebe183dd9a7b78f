"""Outside edits are seen, whichever way the system offers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.notes import NotesFolder
from memory.notes.watch import NotesWatcher

PATIENCE = 20.0  # seconds to wait on a busy machine; the usual time is far below one


class Changes:
    """Collects what the watcher says and lets a test wait for it."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._told = threading.Condition()

    def __call__(self, names: frozenset[str]) -> None:
        with self._told:
            self.names |= names
            self._told.notify_all()

    def wait_for(self, *names: str) -> None:
        with self._told:
            assert self._told.wait_for(lambda: set(names) <= self.names, PATIENCE), f"saw only {self.names}"


@pytest.mark.parametrize("poll", [False, True], ids=["system", "polling"])
def test_every_kind_of_edit_is_seen(tmp_path: Path, poll: bool) -> None:
    folder = NotesFolder(tmp_path / "notes")
    folder.create("old.md", "text")
    changes = Changes()
    with NotesWatcher(folder, changes, poll=poll):
        (folder.root / "new.md").write_text("new")
        changes.wait_for("new.md")
        (folder.root / "sub").mkdir()
        (folder.root / "sub" / "deep.md").write_text("deep")
        changes.wait_for("sub/deep.md")
        fresh = folder.root / ".swap"
        fresh.write_text("replaced by rename, as editors do")
        fresh.replace(folder.root / "new.md")
        changes.names.clear()
        (folder.root / "old.md").unlink()
        changes.wait_for("old.md")
    assert ".swap" not in changes.names


def test_a_failing_reaction_is_told_and_watching_goes_on(tmp_path: Path) -> None:
    folder = NotesFolder(tmp_path / "notes")
    seen = Changes()
    troubles: list[str] = []

    def react(names: frozenset[str]) -> None:
        seen(names)
        if "bad.md" in names:
            raise ValueError("no index")

    with NotesWatcher(folder, react, troubles.append):
        (folder.root / "bad.md").write_text("x")
        seen.wait_for("bad.md")
        (folder.root / "good.md").write_text("x")
        seen.wait_for("good.md")
    assert any("bad.md" in trouble and "no index" in trouble for trouble in troubles)


def test_when_the_system_cannot_watch_polling_takes_over_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr("watchfiles.watch", broken)
    folder = NotesFolder(tmp_path / "notes")
    troubles: list[str] = []
    with NotesWatcher(folder, changes := Changes(), troubles.append):
        (folder.root / "a.md").write_text("x")
        changes.wait_for("a.md")
    assert any("watch limit" in trouble for trouble in troubles)


def test_stopping_ends_the_thread(tmp_path: Path) -> None:
    before: Callable[[], int] = threading.active_count
    count = before()
    NotesWatcher(NotesFolder(tmp_path), Changes()).start().stop()
    assert threading.active_count() == count
