"""A folder that cannot be written, a disk that is full, a file that is damaged: one clear line, nothing lost."""

from __future__ import annotations

import logging
import os
import random
import subprocess
from pathlib import Path

import pytest

from agent import logs
from agent.app import Fovea
from agent.errors import AgentError, ReadOnlyError, StorageError, TreeDamagedError, TreeTooNewError
from agent.events import Finished, Stopped, Wrote
from agent.paths import Folders
from agent.recall import NullMemory
from agent.settings import Settings
from agent.tree import Tree
from agent.values import Status
from backends.scripted import Script, ScriptedEngine


@pytest.fixture
def mounted(tmp_path):
    """A tmpfs of 1 MB; skipped where mounting is not allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def opened(data: Path, *scripts) -> Fovea:
    settings = Settings().with_values({"policy.mode": "manual"})
    folders = Folders(data, data / "config", data / "cache")
    return Fovea.open(settings, engine=ScriptedEngine(scripts), memory=NullMemory(), folders=folders)


def fill(folder: Path, leave: int = 0) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(4096))
        except OSError:
            pass
    if leave:
        os.truncate(filler, filler.stat().st_size - leave)
    return filler


def test_what_is_there_can_be_read_on_a_full_disk(mounted):
    data = mounted / "data"
    with opened(data, Script("An answer.")) as fovea:
        list(fovea.session().send("Q"))
    filler = fill(mounted)
    with opened(data, Script("Never.")) as fovea:
        assert fovea.why_read_only == f"the disk of {data} is full"
        assert [info.title for info in fovea.sessions()] == ["Q"]
        assert fovea.session("last").path()[-1].text == "An answer."
        with pytest.raises(ReadOnlyError, match="is full"):
            list(fovea.session("last").send("More"))
    filler.unlink()
    with opened(data, Script("More.")) as fovea:
        assert isinstance(list(fovea.session("last").send("More"))[-1], Finished)


def test_a_log_that_cannot_be_written_leaves_the_terminal_alone(capsys):
    assert logs.start(Path("/dev/full"))
    logging.getLogger("tui").error("lost")
    assert capsys.readouterr() == ("", "")


def test_a_disk_that_is_full_from_the_start(mounted):
    fill(mounted)
    full = pytest.raises(StorageError, match=r"full|cannot be (written|created|used)|No space")
    with full, opened(mounted / "data") as fovea:
        list(fovea.session().send("Q"))


def test_a_disk_that_fills_up_during_a_reply(mounted):
    with opened(mounted / "data", "One.", Script("word " * 400), "Three.") as fovea:
        session = fovea.session()
        list(session.send("First"))
        acknowledged = session.head
        filler, last = None, None
        for event in session.send("Second"):
            if isinstance(event, Wrote) and filler is None:
                filler = fill(mounted)
            last = event
        assert isinstance(last, Stopped) and "full" in last.problem, last
        assert "could not be saved" in last.problem
        assert fovea.tree.integrity() == "ok"
        assert session.node(acknowledged).text == "One."
        filler.unlink()
        assert isinstance(list(session.reply())[-1], Finished)
        assert session.path()[-1].text == "Three."


def test_a_read_only_data_folder(mounted):
    with opened(mounted / "data", "One.") as fovea:
        session = fovea.session()
        list(session.send("First"))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with opened(mounted / "data", "Two.") as fovea:
        assert fovea.read_only and "cannot be written" in fovea.why_read_only
        assert not fovea.tree.busy
        assert [node.text for node in fovea.session("last").path()] == ["First", "One."]
        with pytest.raises(ReadOnlyError, match="cannot be written"):
            list(fovea.session("last").send("Second"))
        assert fovea.engine.requests == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "data").write_text("I am a file")
    with opened(tmp_path / "data") as fovea, pytest.raises(ReadOnlyError, match="is a file"):
        list(fovea.session().send("Q"))


def test_a_damaged_file_is_named_and_left_alone(tmp_path):
    path = tmp_path / "conversations.sqlite"
    path.write_bytes(random.Random(1).randbytes(10_000))
    before = path.read_bytes()
    with pytest.raises(TreeDamagedError, match=r"conversations\.sqlite is damaged"):
        Tree.open(path, tmp_path / "lock")
    assert path.read_bytes() == before


def test_a_file_of_a_newer_fovea_is_left_alone(tmp_path):
    import sqlite3
    from contextlib import closing

    path = tmp_path / "conversations.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(TreeTooNewError, match="update fovea"):
        Tree.open(path, tmp_path / "lock")


def test_the_lock_is_free_again_after_a_failed_opening(tmp_path):
    path = tmp_path / "conversations.sqlite"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(AgentError):
        Tree.open(path, tmp_path / "lock")
    path.unlink()
    tree = Tree.open(path, tmp_path / "lock")
    assert not tree.read_only
    tree.close()


def test_every_token_is_found_by_another_process(tmp_path, monkeypatch):
    """What a kill would leave in the middle of a reply (tests/e2e/test_kills does it with real processes)."""
    monkeypatch.setattr("agent.checkpoints.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("agent.checkpoints.SHARE", 0)
    folders = Folders(tmp_path, tmp_path, tmp_path)
    seen = []
    with opened(tmp_path, "one two three") as fovea:
        session = fovea.session()
        for event in session.send("Q"):
            if isinstance(event, Wrote):
                other = Tree.open(folders.conversations, folders.writer_lock)
                assert other.read_only and other.busy
                seen.append(other.path(session.head)[-1])
                other.close()
    assert [(node.status, node.text) for node in seen] == [
        (Status.OPEN, "one"),
        (Status.OPEN, "one two"),
        (Status.OPEN, "one two three"),
    ]
    assert [step.text for step in seen[1].steps] == ["one", " two"]


def test_what_a_kill_left_open_is_resumed(tmp_path):
    with opened(tmp_path, "one two three") as fovea:
        stream = fovea.session().send("Q")
        while not isinstance(next(stream), Wrote):
            pass
        identity = fovea.sessions()[0].id
        node = fovea.tree.shelf.head(identity)
        fovea.tree.checkpoint(node, "one", fovea.tree.node(node).steps)
        fovea.tree.set_status(node, Status.OPEN)
        copy = (tmp_path / "conversations.sqlite").read_bytes(), (tmp_path / "conversations.sqlite-wal").read_bytes()
        stream.close()
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "conversations.sqlite").write_bytes(copy[0])
    (killed / "conversations.sqlite-wal").write_bytes(copy[1])
    with opened(killed, "one two three") as fovea:
        session = fovea.session("last")
        assert session.path()[-1].status is Status.OPEN and session.path()[-1].text == "one"
        (reply,) = list(session.resume(session.head))[-1].replies
        assert reply.status is Status.DONE and reply.text.startswith("one")
