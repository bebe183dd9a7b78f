from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from memory.errors import IngestError, StoreBusyError
from memory.ingest import Control, Outcome, Progress, path_of, uri_of, watch
from memory.ingest.lock import writer_lock
from memory.ingest.walk import select
from memory.kb import KnowledgeBase, Waiting
from tests.memory.kb.kb_samples import SENTENCE, CountingEmbedder

Opener = Callable[..., KnowledgeBase]


def write(path: Path, *sections: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"## Part {n}\n\n{section} {SENTENCE * 6}\n\n" for n, section in enumerate(sections))
    path.write_text(text, encoding="utf-8")
    return path


def names(base: KnowledgeBase) -> list[str]:
    return sorted(Path(document.uri).name for document in base.documents() if document.status == "ready")


def test_unchanged_files_cost_nothing_and_an_edit_costs_its_chunk(
    base: KnowledgeBase, docs: Path, embedder: CountingEmbedder
) -> None:
    write(docs / "a.md", "alpha", "beta", "gamma")
    write(docs / "b.md", "delta")
    first = base.add([str(docs)])
    assert (first.added, first.embedded, first.pending) == (2, 4, 0)
    embedder.texts.clear()
    assert base.add([str(docs)]).unchanged == 2 and not embedder.texts
    write(docs / "a.md", "alpha", "beta, edited", "gamma")
    again = base.refresh()
    assert (again.updated, again.unchanged, again.new_chunks, again.removed_chunks) == (1, 1, 1, 1)
    assert len(embedder.texts) == 1 and "beta, edited" in embedder.texts[0]


def test_a_touched_file_is_read_but_not_stored_again(base: KnowledgeBase, docs: Path) -> None:
    path = write(docs / "a.md", "alpha")
    base.add([str(docs)])
    os.utime(path, ns=(1, 1))
    assert base.refresh().unchanged == 1
    document = base.store.document("file", str(path))
    assert document is not None and document.mtime_ns == 1


def test_a_moved_file_is_not_embedded_again(base: KnowledgeBase, docs: Path, embedder: CountingEmbedder) -> None:
    path = write(docs / "old.md", "alpha", "beta")
    base.add([str(docs)])
    embedder.texts.clear()
    path.rename(docs / "renamed.md")
    (docs / "sub").mkdir()
    (docs / "renamed.md").rename(docs / "sub" / "moved.md")
    outcome = base.refresh()
    assert (outcome.added, outcome.removed, outcome.embedded) == (1, 1, 0)
    assert names(base) == ["moved.md"] and not embedder.texts


def test_a_removed_file_disappears_from_every_route(base: KnowledgeBase, docs: Path) -> None:
    path = write(docs / "a.md", "unmistakable")
    write(docs / "b.md", "other")
    base.add([str(docs)])
    path.unlink()
    assert base.refresh().removed == 1
    assert base.store.search_words(["unmistak"], 5) == []
    assert base.store.count_vectors(base.model) == base.store.stats().chunks == 1


def test_a_vanished_folder_is_reported_and_forgets_nothing(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    docs.rename(docs.with_name("unmounted"))
    outcome = base.refresh()
    assert outcome.removed == 0 and "gone or not mounted" in outcome.failed[0][1]
    assert names(base) == ["a.md"]


def test_what_was_removed_by_hand_stays_out_until_it_is_added_again(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    secret = write(docs / "secret.md", "secret")
    base.add([str(docs)])
    assert base.remove([str(secret)]).removed == 1
    base.refresh()
    base.add([str(docs)])
    assert names(base) == ["a.md"]
    base.add([str(secret)])
    assert names(base) == ["a.md", "secret.md"]


def test_removing_a_folder_stops_following_it(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    write(docs / "sub" / "b.md", "beta")
    base.add([str(docs)])
    assert base.remove([str(docs)]).removed == 2
    write(docs / "c.md", "gamma")
    base.refresh()
    assert names(base) == [] and base.store.stats().chunks == 0


def test_removing_by_pattern_and_something_unknown(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    write(docs / "b.txt", "beta")
    base.add([str(docs)])
    outcome = base.remove([str(docs / "*.txt"), str(docs / "nothing.md")])
    assert outcome.removed == 1 and outcome.failed == [(str(docs / "nothing.md"), "not in the knowledge base")]


def test_gitignore_hidden_and_tool_folders_are_left_out(docs: Path) -> None:
    for name in ("a.md", "b.log.md", "build/c.md", "keep/build/d.md", "node_modules/e.md", ".hidden/f.md", ".g.md"):
        write(docs / name, "text")
    (docs / ".gitignore").write_text("*.log.md\nbuild/\n", encoding="utf-8")
    (docs / "keep" / ".gitignore").write_text("!build/\n", encoding="utf-8")
    (docs / "link.md").symlink_to(docs / "a.md")
    (docs / "photo.png").write_bytes(b"\x89PNG")
    found = sorted(str(one.path.relative_to(docs)) for one in select([str(docs)]).files)
    assert found == ["a.md", "keep/build/d.md"]


def test_folders_may_lie_deeper_than_calls_may(docs: Path) -> None:
    depth, home = 1100, Path.cwd()
    os.chdir(docs)
    try:
        for _ in range(depth):
            os.mkdir("d")  # noqa: PTH102 (the whole path would be walked every time)
            os.chdir("d")
        Path("deep.md").write_text("text", encoding="utf-8")
    finally:
        os.chdir(home)
    assert [one.path.name for one in select([str(docs)]).files] == ["deep.md"]
    assert [one.path.name for one in select([f"{docs}/**/*.md"]).files] == ["deep.md"]
    subprocess.run(["rm", "-r", str(docs / "d")], check=True)  # deeper than shutil can reach, and pytest with it


def test_a_pattern_does_not_follow_links_in_a_circle(docs: Path) -> None:
    write(docs / "sub" / "a.md", "text")
    for name in ("one", "two", "three"):  # two to the power of forty ways
        (docs / name).symlink_to(docs)
    chosen = select([f"{docs}/**/*.md"])
    assert [one.path for one in chosen.files] == [docs / "sub" / "a.md"] and not chosen.problems
    assert [one.path for one in select([f"{docs}/**/sub/**/*.md"]).files] == [docs / "sub" / "a.md"]


def test_names_that_no_file_has_are_answered(base: KnowledgeBase, docs: Path) -> None:
    for name in ("~nobody-at-all/a.md", str(docs / os.fsdecode(b"\xff.md")), "no\0file"):
        assert base.show(name) is None
        assert base.remove([name]).failed == [(name, "not in the knowledge base")]
        assert base.refresh([name]).unchanged == 0


def test_a_folder_whose_name_is_no_text_is_refreshed_by_its_document_name(base: KnowledgeBase, docs: Path) -> None:
    folder = docs / os.fsdecode(b"caf\xe9")
    try:
        write(folder / "a.md", "alpha")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only text as names")
    base.add([str(folder)])
    write(folder / "a.md", "alpha, edited")
    assert base.refresh([uri_of(folder)]).updated == 1


def test_globs_files_and_problems_are_told_apart(docs: Path) -> None:
    write(docs / "a.md", "text")
    write(docs / "sub" / "b.md", "text")
    (docs / "odd.weird").write_text("text", encoding="utf-8")
    chosen = select([str(docs / "**" / "*.md"), str(docs / "odd.weird"), str(docs / "none*.md")])
    assert [found.path.name for found in chosen.files] == ["a.md", "b.md", "odd.weird"]
    assert chosen.problems == [(str(docs / "none*.md"), "no such file or folder")]
    with pytest.raises(IngestError, match="at least one"):
        select([])


@pytest.mark.parametrize("raw", [b"/tmp/plain.md", b"/tmp/\xff\xfe.md", "/tmp/имя.md".encode()])
def test_every_path_has_a_name_that_leads_back(raw: bytes) -> None:
    path = Path(os.fsdecode(raw))
    uri_of(path).encode("utf-8")
    assert path_of(uri_of(path)) == path


def test_a_file_that_becomes_unreadable_gives_up_its_text(base: KnowledgeBase, docs: Path) -> None:
    path = write(docs / "a.md", "unmistakable")
    base.add([str(docs)])
    path.write_bytes(b"\0" * 500)
    assert base.refresh().failed == [(str(path), "binary data, not a document")]
    assert base.store.search_words(["unmistak"], 5) == []
    write(path, "readable again")
    assert base.refresh().added == 1


def test_words_find_before_anything_is_embedded(open_base: Opener, docs: Path) -> None:
    write(docs / "a.md", "unmistakable")
    base = open_base()
    outcome = base.add([str(docs)], embed=False)
    assert outcome.pending == 1
    found, note = base.search("unmistakable")
    assert found[0].scores.words is not None and found[0].scores.meaning is None
    assert "nothing is embedded yet" in note
    base.embed()
    found, note = base.search("unmistakable")
    assert found[0].scores.meaning is not None and not note


def test_another_model_embeds_anew_while_words_go_on_finding(open_base: Opener, docs: Path) -> None:
    write(docs / "a.md", "unmistakable")
    open_base().add([str(docs)])
    other = open_base(CountingEmbedder("other"))
    found, note = other.search("unmistakable")
    assert found and "nothing is embedded yet" in note
    assert other.embed() == 1
    assert other.store.stats().vectors == {"other": 1}


def test_cancelling_keeps_what_was_done_and_the_next_run_goes_on(open_base: Opener, docs: Path) -> None:
    for number in range(30):
        write(docs / f"{number:02}.md", f"text {number}")
    base, stop = open_base(), threading.Event()

    outcome = base.add([str(docs)], Control(report=lambda progress: stop.set(), cancelled=stop.is_set))
    assert outcome.cancelled and 0 < outcome.added < 30
    rest = base.add([str(docs)])
    assert outcome.added + rest.added == 30 and rest.pending == 0
    assert base.verify().clean


def test_progress_has_rate_and_remaining_time(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha", "beta")
    seen: list[Progress] = []
    base.add([str(docs)], Control(report=seen.append))
    assert {"reading", "embedding"} == {progress.phase for progress in seen}
    assert seen[-1].done == seen[-1].total and seen[-1].seconds_left == 0.0 and seen[-1].rate > 0


def test_a_second_writer_waits_and_says_for_whom(open_base: Opener, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    base = open_base()
    told: list[str] = []
    waiting = threading.Event()

    def say(text: str) -> None:
        told.append(text)
        waiting.set()

    with writer_lock(base.folder, "kb rebuild"):
        with pytest.raises(StoreBusyError, match="kb rebuild"):
            base.add([str(docs)], waiting=Waiting(seconds=0))
        thread = threading.Thread(target=lambda: base.add([str(docs)], waiting=Waiting(told=say)))
        thread.start()
        assert waiting.wait(20)
        assert names(base) == []  # reading needs no lock
    thread.join(20)
    assert names(base) == ["a.md"]
    assert "waiting for it" in told[0] and str(os.getpid()) in told[0]


def test_two_bases_on_one_folder_end_with_the_union(open_base: Opener, tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / "left" / f"{number}.md", f"left {number}")
        write(tmp_path / "right" / f"{number}.md", f"right {number}")
    bases = [open_base(), open_base()]
    threads = [
        threading.Thread(target=base.add, args=([str(tmp_path / side)],))
        for base, side in zip(bases, ("left", "right"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(names(bases[0])) == 40
    assert bases[0].store.count_pending(bases[0].model) == 0
    assert bases[1].verify().clean


def test_private_documents_are_never_found(base: KnowledgeBase, docs: Path) -> None:
    path = write(docs / "diary.md", "unmistakable")
    base.add([str(docs)], private=True)
    assert base.search("unmistakable")[0] == []
    write(path, "unmistakable, edited")
    base.refresh()
    assert base.search("unmistakable")[0] == []
    shown = base.show(str(path))
    assert shown is not None and "edited" in shown[1][0][1].text


def test_a_text_that_a_private_document_holds_too_names_only_the_open_one(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "open" / "guide.md", "unmistakable")
    write(docs / "a-diary" / "guide.md", "unmistakable")  # comes first by name
    base.add([str(docs / "open")])
    base.add([str(docs / "a-diary")], private=True)
    base.store.put_document("note", "guide.md", "guide", (docs / "open" / "guide.md").read_text(encoding="utf-8"))
    assert base.store.stats().chunks < base.store.stats().placements, "the text is stored once"
    found, _ = base.search("unmistakable", kinds=["file", "url"])
    named = {source.document.uri for one in found for source in one.chunk.sources}
    assert named == {str(docs / "open" / "guide.md")}
    base.store.set_private("file", str(docs / "open" / "guide.md"), True)
    assert base.search("unmistakable", kinds=["file", "url"])[0] == []


def test_what_comes_into_a_private_folder_later_is_private(base: KnowledgeBase, docs: Path) -> None:
    path = write(docs / "diary.md", "first")
    base.add([str(docs)])  # open at first
    base.add([str(docs)], private=True)
    path.rename(docs / "moved.md")
    write(docs / "year" / "later.md", "unmistakable")
    assert base.refresh().added == 2
    assert all(document.private for document in base.documents())
    assert base.search("unmistakable")[0] == []
    base.remove([str(docs)])
    base.add([str(docs)])
    assert not any(document.private for document in base.documents())


def test_what_is_added_as_private_is_not_open_for_a_moment(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs / "diary.md", "unmistakable")
    monkeypatch.setattr(base.store, "set_private", lambda *_: None)  # what a kill right after storing leaves
    base.add([str(docs)], private=True)
    assert [document.private for document in base.documents()] == [True]


def test_watching_follows_changes(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    stop = threading.Event()
    control = Control(cancelled=stop.is_set)
    outcomes = base.watch(control)
    next(outcomes)  # what changed before watching began
    timer = threading.Timer(1.0, lambda: write(docs / "b.md", "unmistakable"))
    timer.start()
    changed = next(outcomes)
    timer.join()
    stop.set()
    assert changed.added == 1 and base.search("unmistakable")[0]
    outcomes.close()  # type: ignore[attr-defined]


def test_watching_waits_for_a_folder_that_went_away(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    stop = threading.Event()
    outcomes = base.watch(Control(cancelled=stop.is_set))
    next(outcomes)
    away = docs.with_name("elsewhere")
    docs.rename(away)

    write(away / "b.md", "unmistakable")  # while nobody watches
    timer = threading.Timer(1.5, lambda: away.rename(docs))
    timer.start()
    found = False
    for _ in outcomes:
        found = bool(base.search("unmistakable")[0])
        if found:
            break
    stop.set()
    timer.join()
    outcomes.close()  # type: ignore[attr-defined]
    assert found, "watching ended when its only folder was away"


def watching(base: KnowledgeBase) -> Iterator[Outcome]:
    """The outcomes of a watch that ends, at the latest, after a minute."""
    end = time.monotonic() + 60
    return base.watch(Control(cancelled=lambda: time.monotonic() > end))


def test_watching_follows_a_file_that_is_added_by_itself_meanwhile(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    outcomes = watching(base)
    next(outcomes)
    alone = write(docs.with_name("elsewhere") / "alone.md", "beta")
    base.add([str(alone)])
    write(alone, "beta, edited")
    assert next(outcomes).updated == 1
    write(alone, "beta, edited again")
    assert next(outcomes).updated == 1


def test_what_changes_while_the_watching_begins_anew_is_not_missed(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [docs.with_name("other")]

    def begins(folders: object) -> Iterator[set[Path]]:
        write(docs / f"{len(names(base))}.md", "written before the system watches")
        yield set()
        if others:
            write(others[0] / "b.md", "beta")
            base.add([str(others.pop())])
        while True:
            yield set()

    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    monkeypatch.setattr(watch, "_by_the_system", begins)
    outcomes = watching(base)
    assert [next(outcomes).added for _ in range(3)] == [0, 1, 1]
    assert names(base) == ["1.md", "3.md", "a.md", "b.md"]


def test_where_the_system_cannot_watch_everything_is_looked_at(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*folders: object, **options: object) -> None:
        raise OSError("no watches left")

    monkeypatch.setattr("watchfiles.watch", broken)
    monkeypatch.setattr(watch, "_EVERYTHING_SECONDS", 0.0)
    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    outcomes = watching(base)
    next(outcomes)
    assert "no watches left" in next(outcomes).note
    write(docs / "b.md", "beta")
    assert next(outcomes).added == 1


def test_a_folder_that_is_suddenly_empty_is_kept_until_it_is_named(base: KnowledgeBase, docs: Path) -> None:
    """What a disk looks like that is not mounted: its folder is there and holds nothing."""
    file, alone = write(docs / "a.md", "alpha"), write(docs.with_name("disk") / "b.md", "beta")
    base.add([str(docs), str(alone)])
    outcomes = watching(base)
    next(outcomes)
    file.unlink()
    alone.unlink()
    told: dict[str, str] = {}
    while len(told) < 2:
        told |= dict(next(outcomes).failed)
    assert told.keys() == {str(docs), str(alone)} and "not mounted" in told[str(docs)]
    for outcome in (base.refresh(), base.refresh([str(docs.parent)]), base.add([str(docs)])):
        assert outcome.removed == 0 and str(docs) in dict(outcome.failed)
    assert names(base) == ["a.md", "b.md"]
    write(docs / "a.md", "alpha")
    assert base.refresh([str(docs)]).unchanged == 1, "it is there again, and nothing was read anew"
    file.unlink()
    assert base.refresh([str(docs), str(alone)]).removed == 2


@pytest.mark.parametrize("where", ["outer", "inner", "both"])
def test_of_folders_in_each_other_each_answers_for_its_own_documents(
    base: KnowledgeBase, docs: Path, where: str
) -> None:
    inner = docs / "disk"
    files = {"outer": [write(docs / "a.md", "alpha")], "inner": [write(inner / "b.md", "beta")]}
    files["both"] = files["outer"] + files["inner"]
    base.add([str(docs), str(inner)])
    for file in files["both"]:
        file.unlink()
    for folder in {"outer": [docs], "inner": [inner], "both": [docs, inner]}[where]:
        base.refresh([str(folder)])
    gone = {file.name for file in files[where]}
    assert set(names(base)) == {"a.md", "b.md"} - gone


def test_a_look_at_a_part_of_a_folder_forgets_nothing_of_another_one_inside_it(base: KnowledgeBase, docs: Path) -> None:
    file = write(docs / "disk" / "b.md", "beta")
    write(docs / "part" / "a.md", "alpha")
    base.add([str(docs), str(docs / "disk")])
    file.unlink()
    assert base.refresh([str(docs / "part")]).removed == 0
    assert set(names(base)) == {"a.md", "b.md"}


def test_watching_ends_when_the_last_file_is_removed(base: KnowledgeBase, docs: Path) -> None:
    alone = write(docs / "a.md", "alpha")
    base.add([str(alone)])
    outcomes = watching(base)
    next(outcomes)
    write(alone, "alpha and more")
    assert next(outcomes).updated == 1, "it is being watched"
    base.remove([str(alone)])
    assert list(outcomes) == []


def test_a_folder_that_goes_away_as_watching_begins_does_not_end_the_watching(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, real = 0, watchfiles.watch

    def begins(*folders: Path, **options: Any) -> Iterator[Any]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise FileNotFoundError("it went away")
        return real(*folders, **options)

    write(docs / "a.md", "alpha")
    base.add([str(docs)])
    monkeypatch.setattr("watchfiles.watch", begins)
    outcomes = watching(base)
    next(outcomes)
    write(docs / "b.md", "beta")
    outcome = next(outcomes)
    assert (outcome.added, outcome.note, begun) == (1, "", 2)


def test_status_counts_what_is_there(base: KnowledgeBase, docs: Path) -> None:
    write(docs / "a.md", "alpha")
    (docs / "b.md").write_bytes(b"")
    base.add([str(docs)])
    status = base.status()
    assert (status.store.documents["file"], status.store.failed, status.pending) == (1, 1, 0)
    assert status.roots == [str(docs)] and status.model == "counting"
