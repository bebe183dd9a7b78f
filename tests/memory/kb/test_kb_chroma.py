"""The chromadb index: kept in step, distrusted quickly, rebuilt without embedding; and a real server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory.chroma_index import ChromaIndex
from memory.chroma_index.files import WRITING, doubt, set_aside
from memory.chroma_index.host import ChromaHost
from memory.kb import KnowledgeBase
from memory.store import DocumentInfo, Piece, Store

pytest.importorskip("chromadb")
pytestmark = pytest.mark.slow
MODEL, DIM = "toy", 16
Opener = Callable[..., KnowledgeBase]


@pytest.fixture
def filled(store: Store) -> Store:
    put(store, "first", 120)
    return store


@pytest.fixture
def index(filled: Store) -> Iterator[ChromaIndex]:
    made = ChromaIndex(filled, MODEL)
    yield made
    made.close()


def put(store: Store, uri: str, count: int) -> None:
    rng = np.random.default_rng(len(uri))
    pieces = [Piece(f"{uri} chunk {n}", 0, 9) for n in range(count)]
    store.put_pieces("file", uri, pieces, DocumentInfo(title=uri), titled=False)
    rows = [(chunk.id, rng.normal(size=DIM).astype(np.float32)) for chunk in store.pending(MODEL, 10_000)]
    store.put_vectors(MODEL, rows)


def agrees(index: ChromaIndex, store: Store) -> bool:
    """Whether every stored vector finds itself through the index, and the index holds no more."""
    vectors = dict(store.vectors(MODEL))
    for chunk_id, row in vectors.items():
        hits = index.search(row, 1, 1)
        if not hits or hits[0].chunk_id != chunk_id or hits[0].score < 0.999:
            return False
    return index.state.count == len(vectors)


def test_the_index_follows_every_change(index: ChromaIndex, filled: Store) -> None:
    assert index.sync().usable and agrees(index, filled)
    query = np.ones(DIM, np.float32) / 4
    assert [hit.chunk_id for hit in index.search(query, 5, 1) or []] == [
        hit.chunk_id for hit in filled.search_vectors(query, 5, model=MODEL)
    ]
    put(filled, "second", 30)
    assert index.search(query, 5, 1) is None, "an index that lags must not answer"
    index.sync()
    assert agrees(index, filled)
    filled.remove_document("file", "first")
    index.sync()
    assert agrees(index, filled) and index.state.count == 30
    filled.set_private("file", "second", True)
    index.sync()
    assert index.search(query, 5, 1) is None, "what is private is not found"


def test_a_second_process_is_told_and_searches_exactly(index: ChromaIndex, filled: Store) -> None:
    index.sync()
    other = ChromaIndex(filled, MODEL)
    state = other.open()
    assert not state.usable and "another process" in state.reason
    assert other.search(np.ones(DIM, np.float32), 5, 1) is None
    index.close()
    assert other.sync().usable
    other.close()


def test_it_is_opened_again_without_writing(index: ChromaIndex, filled: Store) -> None:
    index.sync()
    index.close()
    again = ChromaIndex(filled, MODEL)
    state = again.sync()
    assert state.usable and not state.rebuilt and agrees(again, filled)
    again.close()


def test_closing_ends_a_busy_worker_and_doubts_nothing(
    index: ChromaIndex, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.sync()
    index.close()
    monkeypatch.setattr("memory.chroma_index.index._CLOSE_SECONDS", 0.05)
    call, busy = ChromaHost.call, threading.Event()

    def slow(host: ChromaHost, method: str, **arguments: Any) -> dict[str, Any]:
        os.kill(host.pid, signal.SIGSTOP)  # it will not answer
        busy.set()
        return call(host, method, **arguments)

    monkeypatch.setattr(ChromaHost, "call", slow)
    again = ChromaIndex(filled, MODEL)
    opening = threading.Thread(target=again.sync)
    opening.start()
    assert busy.wait(60)
    again.close()
    opening.join(60)
    assert not opening.is_alive() and again.state.reason == "closed"
    monkeypatch.setattr(ChromaHost, "call", call)
    state = again.sync()
    assert state.usable and not state.rebuilt and not list(filled.folder.glob("chroma.damaged-*"))
    again.close()


def damage_mark(folder: Path) -> None:
    (folder / WRITING).touch()


def damage_database(folder: Path) -> None:
    (folder / "chroma.sqlite3").write_bytes(b"no database" * 1000)


def damage_missing(folder: Path) -> None:
    (folder / "chroma.sqlite3").unlink()


def damage_graph(folder: Path) -> None:
    segment = folder / "segment"
    segment.mkdir()
    with (segment / "link_lists.bin").open("wb") as file:
        file.truncate(400 << 30)  # sparse, as found after kills: 400 GB claimed, nothing allocated
    (segment / "data_level0.bin").write_bytes(b"\0" * 1000)


def damage_rows(folder: Path) -> None:
    """Vectors vanish behind our back."""
    import sqlite3

    connection = sqlite3.connect(folder / "chroma.sqlite3")
    connection.execute("DELETE FROM embeddings_queue WHERE seq_id % 2")
    connection.execute("DELETE FROM embeddings WHERE id % 2")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [damage_mark, damage_database, damage_missing, damage_graph, damage_rows])
def test_on_any_doubt_it_is_set_aside_and_made_anew(
    index: ChromaIndex, filled: Store, damage: Callable[[Path], None]
) -> None:
    index.sync()
    index.close()
    folder = filled.folder / "chroma"
    damage(folder)
    again = ChromaIndex(filled, MODEL)
    state = again.sync()
    assert state.usable and state.rebuilt and agrees(again, filled)
    assert len(list(filled.folder.glob("chroma.damaged-*"))) == 1
    again.close()


def test_a_crash_of_its_process_costs_nothing_but_speed(index: ChromaIndex, filled: Store) -> None:
    index.sync()
    assert index._host is not None
    os.kill(index._host.pid, signal.SIGSEGV)
    query = np.ones(DIM, np.float32)
    deadline = time.monotonic() + 20
    while index.search(query, 5, 1) is not None and time.monotonic() < deadline:
        pass
    assert index.search(query, 5, 1) is None and "ended" in index.state.reason
    assert len(filled.search_vectors(query, 5, model=MODEL)) == 5
    assert index.sync().usable and agrees(index, filled)


def test_folders_set_aside_do_not_pile_up(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    for _ in range(4):
        folder.mkdir()
        (folder / "file").write_text("x", encoding="utf-8")
        assert set_aside(folder) is not None
    assert len(list(tmp_path.glob("chroma.damaged-*"))) == 1
    assert set_aside(folder) is None and doubt(folder) == ""


def test_the_knowledge_base_searches_through_it_when_asked_to(open_base: Opener, docs: Path) -> None:
    for number in range(5):
        (docs / f"{number}.md").write_text(f"# Doc {number}\n\nwords of document number {number}\n", encoding="utf-8")
    base = open_base(index="chroma")
    base.add([str(docs)])
    assert base.open_index().usable and base.store.vector_route is not None
    found, _ = base.search("words of document number 3")
    assert "number 3" in found[0].chunk.text and found[0].scores.meaning is not None
    assert base.rebuild().count == 5


def test_who_only_reads_starts_no_chromadb(open_base: Opener, docs: Path, tmp_path: Path) -> None:
    (docs / "a.md").write_text("words of a document\n", encoding="utf-8")
    open_base().add([str(docs)])
    reader = open_base(index="chroma", read_only=True)
    assert not reader.open_index().usable and reader.store.vector_route is None
    assert reader.search("words of a document")[0]
    assert not list((tmp_path / "data").rglob("*chroma*"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real ``chroma run`` on loopback."""
    program = Path(sys.executable).with_name("chroma")
    if not program.exists():
        program_found = shutil.which("chroma")
        if program_found is None:
            pytest.skip("the chroma command is not installed")
        program = Path(program_found)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(program), "run", "--path", str(tmp_path / "server"), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"ANONYMIZED_TELEMETRY": "False"},
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/v2/heartbeat", timeout=2):
                break
        except (urllib.error.URLError, OSError):
            process.poll()
    yield address
    process.terminate()
    process.wait(20)


def test_a_server_takes_the_place_of_the_folder_by_one_setting(server: str, open_base: Opener, docs: Path) -> None:
    for number in range(5):
        (docs / f"{number}.md").write_text(f"# Doc {number}\n\nwords of document number {number}\n", encoding="utf-8")
    base = open_base(index=server)
    base.add([str(docs)])
    state = base.open_index()
    assert state.usable and state.count == 5, state.reason
    assert not (base.folder / "chroma").exists()
    found, _ = base.search("words of document number 2")
    assert "number 2" in found[0].chunk.text and found[0].scores.meaning is not None
    (docs / "2.md").unlink()
    base.refresh()
    assert base.open_index().count == 4


def test_a_server_that_is_away_is_said_and_search_goes_on(open_base: Opener, docs: Path) -> None:
    (docs / "a.md").write_text("# A\n\nunmistakable words\n", encoding="utf-8")
    base = open_base(index="http://127.0.0.1:9")
    base.add([str(docs)])
    state = base.open_index()
    assert not state.usable and state.reason
    assert base.search("unmistakable words")[0][0].scores.meaning is not None
