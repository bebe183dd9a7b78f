from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.errors import StoreBusyError, StoreDamagedError, StoreError, StoreTooNewError
from memory.recall.text import query_terms
from memory.store import Piece, Store, reads
from memory.store.erase import UNFINISHED, erase, finish_erasing
from memory.store.matrix import data_version
from memory.store.schema import MIGRATIONS
from memory.store.values import DocumentInfo
from memory.store.verify import reindex_words, verify
from tui.commands.kb import kb
from tui.commands.note import note

MODEL = "toy"


def put(store: Store, uri: str, *texts: str, kind: str = "file", private: bool = False) -> None:
    pieces = [Piece(text, 10 * at, 10 * at + len(text)) for at, text in enumerate(texts)]
    store.put_pieces(kind, uri, pieces, DocumentInfo(title=uri, private=private), titled=False)


def embed_all(store: Store, dim: int = 8) -> None:
    rng = np.random.default_rng(0)
    store.put_vectors(MODEL, [(c.id, rng.normal(size=dim).astype(np.float32)) for c in store.pending(MODEL, 10_000)])


def found(store: Store, words: str, kinds: list[str] | None = None) -> list[str]:
    hits = store.search_words(query_terms(words), 10, kinds)
    return [chunk.text for chunk in store.chunks([hit.chunk_id for hit in hits])]


def test_identical_chunks_are_stored_once_with_several_sources(store: Store) -> None:
    put(store, "a", "shared words here", "only in a")
    put(store, "b", "shared words here")
    assert store.stats().chunks == 2
    [chunk] = store.chunks([hit.chunk_id for hit in store.search_words(["share"], 5)])
    assert [source.document.uri for source in chunk.sources] == ["a", "b"]
    store.remove_document("file", "a")
    assert store.stats().chunks == 1
    assert found(store, "only") == []
    assert found(store, "shared") == ["shared words here"]


def test_an_edit_keeps_vectors_of_chunks_that_did_not_change(store: Store) -> None:
    put(store, "a", "first chunk", "second chunk", "third chunk")
    embed_all(store)
    put(store, "a", "first chunk", "second chunk, edited", "third chunk")
    assert [chunk.text for chunk in store.pending(MODEL, 10)] == ["second chunk, edited"]
    assert store.count_vectors(MODEL) == 2


def test_words_are_found_in_both_languages_and_in_identifiers(store: Store) -> None:
    put(store, "a", "Квантование моделей уменьшает память", "def getUserName(): pass", "The ﬁrst ligature")
    assert found(store, "квантования модели")[0].startswith("Квантование")
    assert found(store, "user name") == ["def getUserName(): pass"]
    assert found(store, "first") == ["The ﬁrst ligature"]


def test_kinds_and_privacy_filter_both_routes(store: Store) -> None:
    put(store, "a", "apple from a file")
    put(store, "n", "apple from a note", kind="note")
    put(store, "p", "apple that is private", private=True)
    embed_all(store)
    query = np.ones(8, np.float32) / np.sqrt(8).astype(np.float32)
    assert sorted(found(store, "apple")) == ["apple from a file", "apple from a note"]
    assert found(store, "apple", ["note"]) == ["apple from a note"]
    assert len(store.search_vectors(query, 10, model=MODEL)) == 2
    assert len(store.search_vectors(query, 10, ["note"], model=MODEL)) == 1
    assert len(store.search_words(["appl"], 10, private=True)) == 3
    store.set_private("file", "p", False)
    assert len(found(store, "apple")) == 3
    assert len(store.search_vectors(query, 10, model=MODEL)) == 3


def test_a_chunk_shared_with_a_private_document_stays_visible_through_the_other(store: Store) -> None:
    put(store, "open", "the same words")
    put(store, "secret", "the same words", private=True)
    assert found(store, "same words") == ["the same words"]
    store.remove_document("file", "open")
    assert found(store, "same words") == []


def test_neighbours_come_in_order(store: Store) -> None:
    put(store, "a", *(f"chunk number {n}" for n in range(6)))
    [chunk] = store.chunks([store.search_words(["3"], 1)[0].chunk_id])
    placement = chunk.sources[0].placement
    assert [c.text for _, c in store.neighbours(placement, 1)] == ["chunk number 2", "chunk number 3", "chunk number 4"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 12), max_size=4)), max_size=25))
def test_the_matrix_follows_every_change(tmp_path: Path, steps: list[tuple[int, list[int]]]) -> None:
    """The patched matrix equals one that is read anew, whatever was put, changed and removed."""
    rng = np.random.default_rng(3)
    with Store(tmp_path / str(rng.random())) as store:
        query = rng.normal(size=4).astype(np.float32)
        for document, texts in steps:
            put(store, f"doc{document}", *(f"text {n}" for n in texts))
            pending = store.pending(MODEL, 100)
            store.put_vectors(MODEL, [(chunk.id, rng.normal(size=4).astype(np.float32)) for chunk in pending])
            patched = store.search_vectors(query, 50, model=MODEL)
            with Store(store.folder, read_only=True) as fresh:
                anew = fresh.search_vectors(query, 50, model=MODEL)
            # By id: two nearly equal scores may change places with the row a vector stands in.
            assert {hit.chunk_id: pytest.approx(hit.score, abs=1e-5) for hit in anew} == {
                hit.chunk_id: hit.score for hit in patched
            }
        assert verify(store.database).clean


def test_exact_search_equals_the_definition(store: Store) -> None:
    put(store, "a", *(f"chunk {n}" for n in range(300)))
    embed_all(store, dim=16)
    query = np.random.default_rng(5).normal(size=16).astype(np.float32)
    query /= np.linalg.norm(query)
    by_hand = sorted(((float(row @ query), chunk_id) for chunk_id, row in store.vectors(MODEL)), reverse=True)[:10]
    hits = store.search_vectors(query, 10, model=MODEL)
    assert [hit.chunk_id for hit in hits] == [chunk_id for _, chunk_id in by_hand]
    assert np.allclose([hit.score for hit in hits], [score for score, _ in by_hand], atol=1e-6)


def test_what_is_held_in_memory_forgets_a_dropped_model(store: Store) -> None:
    put(store, "a", "one", "two")
    embed_all(store)
    query = np.ones(8, np.float32)
    assert len(store.search_vectors(query, 10, model=MODEL)) == 2
    store.put_vectors("newer", [(chunk.id, np.ones(4, np.float32)) for chunk in store.pending("newer", 10)])
    store.search_vectors(query, 10, model=MODEL)  # has seen everything up to here
    assert store.drop_models(keep="newer") == 1
    assert store.search_vectors(query, 10, model=MODEL) == [] and store.dimension(MODEL) == 0
    assert len(store.search_vectors(np.ones(4, np.float32), 10, model="newer")) == 2


def test_what_is_held_in_memory_follows_a_changed_dimension(store: Store) -> None:
    put(store, "a", "one", "two")
    embed_all(store)
    assert len(store.search_vectors(np.ones(8, np.float32), 10, model=MODEL)) == 2
    first = store.vector_ids(MODEL)[0]
    store.put_vectors(MODEL, [(first, np.ones(4, np.float32))])
    assert [hit.chunk_id for hit in store.search_vectors(np.ones(4, np.float32), 10, model=MODEL)] == [first]


def test_a_matrix_far_behind_the_log_reads_everything(store: Store) -> None:
    put(store, "a", "one", "two")
    embed_all(store)
    query = np.ones(8, np.float32)
    assert len(store.search_vectors(query, 10, model=MODEL)) == 2
    put(store, "b", "three")
    embed_all(store)
    with store.database.transaction() as connection:  # the log is cut: nothing tells what changed since
        connection.execute("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")
        connection.execute("INSERT INTO changes(chunk_id) VALUES (1)")
        connection.execute("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")
    assert len(store.search_vectors(query, 10, model=MODEL)) == 3


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    put(store, "a", "before")
    version = store.version

    def broken() -> None:
        with store.database.transaction():
            put(store, "a", "after")
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        broken()
    assert found(store, "before") == ["before"]
    assert found(store, "after") == []
    assert store.version == version


def test_vectors_of_another_dimension_replace_the_old(store: Store) -> None:
    put(store, "a", "one", "two")
    embed_all(store, dim=8)
    chunk = store.chunks([1])[0]
    store.put_vectors(MODEL, [(chunk.id, np.ones(4, np.float32))])
    assert store.dimension(MODEL) == 4
    assert store.count_vectors(MODEL) == 1


def test_vectors_that_are_not_numbers_are_not_stored(store: Store) -> None:
    put(store, "a", "one")
    assert store.put_vectors(MODEL, [(1, np.full(4, np.nan, np.float32)), (1, np.zeros(4, np.float32))]) == 0
    assert store.put_vectors(MODEL, [(999, np.ones(4, np.float32))]) == 0


def test_read_only_refuses_writes_and_a_missing_store(tmp_path: Path, store: Store) -> None:
    put(store, "a", "text")
    with Store(store.folder, read_only=True) as reader:
        assert found(reader, "text") == ["text"]
        with pytest.raises(StoreError):
            put(reader, "b", "more")
    with pytest.raises(StoreError, match="no memory"):
        Store(tmp_path / "nowhere", read_only=True)


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; skipped where mounting is not allowed."""
    folder = tmp_path / "medium"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_medium_that_cannot_be_written_is_read(medium: Path) -> None:
    with Store(medium) as made:
        put(made, "a", "the ferry left at six")
    subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
    with pytest.raises(StoreError):
        Store(medium)
    with Store(medium, read_only=True) as reader:
        assert found(reader, "ferry") == ["the ferry left at six"]
    asked = ((kb, ["search", "--words-only", "ferry"]), (kb, ["list"]), (kb, ["stats"]), (note, ["search", "ferry"]))
    for command, arguments in asked:
        done = CliRunner().invoke(command, [*arguments, "--data", str(medium)])
        assert done.exit_code == 0, done.output


def test_changes_in_a_log_that_cannot_be_read_are_not_passed_over(medium: Path) -> None:
    data = medium / "data"
    with Store(medium / "other") as made:
        put(made, "a", "the ferry left at six")
        shutil.copytree(medium / "other", data)  # as a killed process leaves it
    (data / "memory.db-shm").unlink()
    assert (data / "memory.db-wal").stat().st_size
    subprocess.run(["mount", "-o", "remount,ro", str(medium)], check=True)
    with pytest.raises(StoreError, match="wal holds changes"):
        Store(data, read_only=True)


def test_what_a_reader_kept_from_being_erased_is_erased_later(tmp_path: Path) -> None:
    data, secret = tmp_path / "data", "the elephants sleep in the vault"

    def left() -> list[str]:
        return [path.name for path in data.iterdir() if secret.encode() in path.read_bytes()]

    with Store(data) as store:
        put(store, "a", secret)
        store.database.checkpoint()
        with Store(data, read_only=True) as reader:
            reader.database.connection.execute("BEGIN")
            reader.database.connection.execute("SELECT count(*) FROM chunks").fetchone()
            store.database.connection.execute("PRAGMA busy_timeout = 50")
            with pytest.raises(StoreBusyError, match="removed"):
                erase(store, [("file", "a")])
            assert not found(store, "elephants") and left() == ["memory.db"]
            with pytest.raises(StoreBusyError):
                finish_erasing(store)
            reader.database.connection.execute("COMMIT")
            with Store(data) as later:  # another process, or this one the next time
                finish_erasing(later)
                assert left() == [] and later.meta(UNFINISHED) is None


def test_a_newer_or_foreign_file_is_refused_with_advice(tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    with Store(newer) as made:
        made.database.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreTooNewError, match="newer fovea"):
        Store(newer)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "memory.db").write_bytes(b"this is not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(StoreDamagedError, match="damaged"):
        Store(foreign)


def test_the_folder_is_private(store: Store) -> None:
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert store.database.path.stat().st_mode & 0o777 == 0o600


def test_verify_repairs_what_can_be_derived_again(store: Store) -> None:
    put(store, "a", "alpha text", "beta text", "gamma text")
    embed_all(store)
    connection = store.database.connection
    connection.execute("DELETE FROM words WHERE rowid = 1")
    connection.execute("UPDATE chunks SET kinds = 16 WHERE id = 2")
    connection.execute("UPDATE vectors SET vector = x'0011' WHERE chunk_id = 3")
    connection.execute("INSERT INTO chunks(hash, text, n_tokens) VALUES (x'00', 'orphan', 1)")
    only_looked = verify(store.database, repair=False)
    assert len(only_looked.problems) == 5 and not only_looked.repaired  # the orphan has a wrong hash as well
    repaired = verify(store.database)
    assert len(repaired.repaired) == 4 and not repaired.problems
    assert verify(store.database).clean
    assert found(store, "alpha") == ["alpha text"] and found(store, "beta") == ["beta text"]
    assert [chunk.text for chunk in store.pending(MODEL, 5)] == ["gamma text"]


def test_an_altered_text_is_noticed_and_its_document_read_again(store: Store) -> None:
    put(store, "a", "alpha text", "beta text")
    store.database.connection.execute("UPDATE chunks SET text = 'forged' WHERE id = 1")
    assert "did not have the text" in verify(store.database).repaired[0]
    document = store.document("file", "a")
    assert document is not None and document.mtime_ns == 0
    assert found(store, "forged") == []


def test_a_damaged_word_index_is_made_anew(store: Store) -> None:
    put(store, "a", *(f"word{n} text" for n in range(50)))
    store.database.connection.execute("UPDATE words_data SET block = x'ff00ff' WHERE id > 10")
    assert not verify(store.database).problems
    assert found(store, "word7")[0] == "word7 text"
    assert verify(store.database).clean


def test_reindexing_changes_nothing_that_is_found(store: Store) -> None:
    put(store, "a", *(f"word{n} shared text" for n in range(600)))
    before = store.search_words(["share"], 20)
    assert reindex_words(store.database) == 600
    assert {hit.chunk_id for hit in store.search_words(["word5"], 5)} == {6}
    assert len(store.search_words(["share"], 20)) == len(before)


def test_quotes_and_operators_in_terms_are_plain_words(store: Store) -> None:
    put(store, "a", "plain words")
    for term in ('"', "AND", "a OR b", "NEAR(", "*", "body:plain", "^", "-"):
        assert isinstance(store.search_words([term], 5), list)


def test_the_version_counts_changes(store: Store) -> None:
    before = data_version(store.database.connection)
    put(store, "a", "text")
    assert store.version > before


def test_constraints_hold_against_a_direct_writer(store: Store) -> None:
    put(store, "a", "text")
    with pytest.raises(sqlite3.IntegrityError):
        store.database.connection.execute("INSERT INTO chunks(hash, text, n_tokens) SELECT hash, 'x', 1 FROM chunks")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.lists(st.sampled_from(["gate", "tier", "fork", "note"]), min_size=1, max_size=8), max_size=8),
    after=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=8),
)
def test_words_in_memory_rank_exactly_as_fts5_does(
    tmp_path: Path, before: list[list[str]], after: list[tuple[int, int]]
) -> None:
    """Through newcomers, removals and privacy, the fast route gives FTS5's own scores."""
    with Store(tmp_path / str(np.random.default_rng().random())) as store:
        for number, words in enumerate(before):
            put(store, f"doc{number}", " ".join(words) + f" unique{number}", "gate note filler")
        store.warm(worth_from=0)
        for document, extra in after:
            if extra % 5 == 0:
                store.remove_document("file", f"doc{document}")
            else:
                put(
                    store, f"doc{document}", f"gate fork late{extra}", "tier " * (extra % 4 + 1), private=extra % 7 == 0
                )
        terms = ["gate", "tier", "fork", "absent"]
        assert not store._words.stale
        fast = {hit.chunk_id: hit.score for hit in store.search_words(terms, 50)}
        slow = reads.search_words(store.database.connection, terms, 50, 31)
        assert fast == {hit.chunk_id: pytest.approx(hit.score, rel=1e-4, abs=1e-6) for hit in slow}
        known = store.word_counts(terms)
        assert known is not None and known[0] == store.stats().chunks


def test_words_in_memory_are_given_up_when_too_much_is_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.store.wordmatrix._NEWCOMERS", 2)
    put(store, "a", "gate")
    store.warm(worth_from=0)
    assert store.word_counts(["gate"]) == (1, {"gate": 1})
    put(store, "b", "gate one", "gate two", "gate three")
    assert store.word_counts(["gate"]) is None
    assert len(store.search_words(["gate"], 10)) == 4
    store.warm(worth_from=0)
    assert store.word_counts(["gate"]) == (4, {"gate": 4})


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.stats)
        thread.start()
        thread.join()
    assert len(store.database._all) <= 2


def test_the_first_question_to_many_vectors_streams_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.store.stream.WORTH_FROM", 1)
    rng = np.random.default_rng(5)
    for number in range(60):
        put(store, f"{number}.md", f"text {number}", kind="file" if number % 7 else "note", private=number % 5 == 0)
    ids = [chunk.id for chunk in store.pending(MODEL, 100)]
    store.put_vectors(MODEL, zip(ids, rng.normal(size=(len(ids), 8)).astype(np.float32), strict=True))
    query = rng.normal(size=8).astype(np.float32)
    for kinds, limit in ((["note"], 5), (["file"], 20), (None, 100)):
        with Store(store.folder) as other:
            streamed = other.search_vectors(query, limit, kinds, model=MODEL)
            assert not other.matrix(MODEL).loaded
            held = other.search_vectors(query, limit, kinds, model=MODEL)
            assert other.matrix(MODEL).loaded
            assert [hit.chunk_id for hit in streamed] == [hit.chunk_id for hit in held]
            assert [hit.score for hit in streamed] == pytest.approx([hit.score for hit in held], abs=1e-6)
            assert other.search_vectors(query[:4], limit, kinds, model=MODEL) == []
        with Store(store.folder) as other:
            assert other.search_vectors(query[:4], limit, kinds, model=MODEL) == []
            assert other.search_vectors(query, limit, kinds, model="unknown") == []
