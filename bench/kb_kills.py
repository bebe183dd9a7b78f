"""SIGKILL at random moments of ``kb add``, ``refresh``, ``rm`` and ``rebuild``: nothing may be lost or doubled.

    python -m bench.kb_kills --kills 100 [--seed 1] [--json FILE]

A child runs the real operations on a real data folder, with a deterministic stand-in for the embedding model (so that
kills fall on storing rather than on arithmetic), and prints one line for every document whose transaction has been
committed: that is what it *acknowledged*. The parent kills it (every other time with its whole process group, so that
the chromadb worker dies in the middle of a request as well), then checks in this process:

1. ``verify`` finds nothing, or repairs it, and finds nothing the second time;
2. every acknowledged document is there with the content acknowledged, every acknowledged removal is gone;
3. no chunk is stored twice, no document has two placements of one ordinal, every placement's chunk exists;
4. after the operation is run again to its end, the base equals one that was built from the same files in one go;
5. the chromadb index, opened again, holds exactly the stored vectors and each of a sample finds itself.

At the end two processes add two halves of a folder at once, and the result must be the union.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memory.embed import BackgroundEmbedder, Vectors
from memory.errors import MemoryRoomError
from memory.kb import KnowledgeBase, KnowledgeSettings
from memory.store import DocumentInfo, Piece, PutResult, Store

DIM = 64
VERBS = ("add", "refresh", "rm", "rebuild")
WORDS = ("memory", "tier", "gate", "fork", "ladder", "budget", "token", "cache", "chunk", "vector", "index", "lesson")


class StandIn:
    """Vectors from a hash of the text: the same text always has the same vector."""

    name = "stand-in"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed passages."""
        return np.stack([self.encode_query(text) for text in texts])

    def encode_query(self, text: str) -> Vectors:
        """Embed one text."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        row = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
        return row / np.linalg.norm(row)


class Acknowledging(Store):
    """A store that says on standard output what it has committed."""

    def put_pieces(
        self, kind: str, uri: str, pieces: Sequence[Piece], info: DocumentInfo, *, titled: bool = True
    ) -> PutResult:
        """Store, then acknowledge."""
        result = super().put_pieces(kind, uri, pieces, info, titled=titled)
        print(f"put {info.content_hash} {uri}", flush=True)
        return result

    def remove_document(self, kind: str, uri: str) -> bool:
        """Remove, then acknowledge."""
        gone = super().remove_document(kind, uri)
        print(f"gone - {uri}", flush=True)
        return gone


def base_in(data: Path, *, chroma: bool, store: Store | None = None) -> KnowledgeBase:
    """A knowledge base with the stand-in for a model."""
    embedder = BackgroundEmbedder(StandIn)
    settings = KnowledgeSettings(index="chroma" if chroma else "exact")
    return KnowledgeBase(data, settings, embedder=embedder, store=store)


def child(verb: str, data: Path, targets: list[str], chroma: bool) -> None:
    """Run one operation and acknowledge as it goes."""
    store = Acknowledging(data)
    base = base_in(data, chroma=chroma, store=store)
    print("begin - -", flush=True)
    if verb == "add":
        base.add(targets)
    elif verb == "refresh":
        base.refresh(targets)
        if chroma:
            base.open_index()
    elif verb == "rm":
        base.remove(targets)
    else:
        base.rebuild(vectors=random.random() < 0.5)
    print("end - -", flush=True)
    base.close()
    store.close()


def write_document(path: Path, rng: random.Random) -> None:
    """Write a markdown file of a few sections."""
    sections = [
        f"## Part {number}\n\n"
        + " ".join(rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(rng.randrange(40, 160)))
        for number in range(rng.randrange(2, 8))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {path.stem}\n\n" + "\n\n".join(sections) + "\n", encoding="utf-8")


def change_files(folder: Path, rng: random.Random) -> None:
    """Edit, move, remove and add a few files, as a person does between two refreshes."""
    files = sorted(folder.rglob("*.md"))
    for path in rng.sample(files, k=min(8, len(files))):
        lines = path.read_text(encoding="utf-8").split("\n\n")
        lines[rng.randrange(1, len(lines))] = f"Edited {rng.random()} " + " ".join(rng.choices(WORDS, k=60))
        path.write_text("\n\n".join(lines), encoding="utf-8")
    for path in rng.sample(files, k=min(3, len(files))):
        path.rename(path.with_name(f"moved-{rng.randrange(10**9)}.md"))
    for path in rng.sample(sorted(folder.rglob("*.md")), k=3):
        path.unlink()
    for _ in range(3):
        write_document(folder / f"new-{rng.randrange(10**9)}.md", rng)


def state_of(store: Store) -> dict[str, list[str]]:
    """Every document with its chunks' hashes in order: what two equal bases share."""
    rows = store.database.connection.execute(
        "SELECT d.uri, p.ordinal, c.hash FROM documents d JOIN placements p ON p.document_id = d.id"
        " JOIN chunks c ON c.id = p.chunk_id ORDER BY d.uri, p.ordinal"
    )
    out: dict[str, list[str]] = {}
    for uri, _, digest in rows:
        out.setdefault(uri, []).append(digest.hex())
    return out


def check(data: Path, acknowledged: dict[str, str | None]) -> list[str]:
    """Return everything that is wrong with a base after a kill; an empty list is what is wanted."""
    wrong: list[str] = []
    with base_in(data, chroma=False) as base:
        first = base.verify()
        wrong += [f"verify: {line}" for line in first.problems]
        second = base.verify()
        wrong += [f"second verify: {line}" for line in (*second.repaired, *second.problems)]
        for uri, digest in acknowledged.items():
            document = base.store.document("file", uri)
            if digest is None:
                if document is not None:
                    wrong.append(f"acknowledged removal came back: {uri}")
            elif document is None or document.content_hash != digest or not base.store.document_chunks(document.id):
                wrong.append(f"acknowledged document lost: {uri}")
        one = base.store.database.connection.execute
        for what, query in {
            "chunks stored twice": "SELECT count(*) - count(DISTINCT hash) FROM chunks",
            "documents stored twice": "SELECT count(*) - count(DISTINCT kind || uri) FROM documents",
            "placements stored twice": (
                "SELECT count(*) - count(DISTINCT document_id || '/' || ordinal) FROM placements"
            ),
            "vectors stored twice": "SELECT count(*) - count(DISTINCT model_id || '/' || chunk_id) FROM vectors",
            "chunks without words": "SELECT count(*) FROM chunks WHERE id NOT IN (SELECT rowid FROM words)",
            "words without chunk": "SELECT count(*) FROM words WHERE rowid NOT IN (SELECT id FROM chunks)",
        }.items():
            if count := one(query).fetchone()[0]:
                wrong.append(f"{count} {what}")
    return wrong


def check_equal(data: Path, docs: Path) -> list[str]:
    """Finish what was interrupted, then compare with a base made from the same files in one go."""
    wrong: list[str] = []
    with base_in(data, chroma=False) as base, tempfile.TemporaryDirectory() as fresh:
        base.add([str(docs)])
        with base_in(Path(fresh), chroma=False) as other:
            other.add([str(docs)])
            mine, theirs = state_of(base.store), state_of(other.store)
            if mine != theirs:
                wrong.append(
                    f"differs from a fresh base in {len(set(mine) ^ set(theirs))} documents or in their chunks"
                )
        if pending := base.store.count_pending(base.model):
            wrong.append(f"{pending} chunks without a vector after the operation was finished")
        extra = base.store.count_vectors(base.model) - base.store.stats().chunks
        if extra:
            wrong.append(f"{extra} vectors too many")
    return wrong


def check_chroma(data: Path) -> tuple[list[str], str]:
    """Open the chromadb index and ask it for every stored vector; return what is wrong and why it was rebuilt."""
    wrong: list[str] = []
    with base_in(data, chroma=True) as base:
        state = base.open_index()
        if not state.usable:
            return [f"chromadb unusable: {state.reason}"], ""
        total = base.store.count_vectors(base.model)
        if state.count != total:
            wrong.append(f"chromadb holds {state.count} of {total} vectors")
        lost = 0
        for chunk_id, row in base.store.sample_vectors(base.model, 100):
            hits = base.store.vector_route(base.model, row, 1, 0xFFFF) if base.store.vector_route else None
            lost += not hits or hits[0].chunk_id != chunk_id
        if lost:
            wrong.append(f"{lost} of 100 vectors do not find themselves in chromadb")
        return wrong, state.rebuilt


def run_child(verb: str, data: Path, targets: list[str], chroma: bool) -> subprocess.Popen[str]:
    """Start one operation in a session of its own."""
    arguments = [sys.executable, "-m", "bench.kb_kills", "child", verb, str(data), "1" if chroma else "0", *targets]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)


def killed(
    verb: str, data: Path, targets: list[str], delay: float, *, whole_group: bool, chroma: bool
) -> tuple[dict[str, str | None], bool]:
    """Run an operation, kill it ``delay`` seconds after it began; return what it acknowledged and if it was killed."""
    process = run_child(verb, data, targets, chroma)
    acknowledged: dict[str, str | None] = {}
    timer: threading.Timer | None = None
    finished = False

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()

    for line in process.stdout or ():
        if not line.endswith("\n"):
            break  # cut off by the kill: not acknowledged
        what, digest, uri = line.rstrip("\n").split(" ", 2)
        if what == "begin":
            timer = threading.Timer(delay, kill)
            timer.start()
        elif what == "put":
            acknowledged[uri] = digest
        elif what == "gone":
            acknowledged[uri] = None
        elif what == "end":
            finished = True
            break
    if timer is not None:
        timer.cancel()
    if finished:
        kill()  # also at the very end: closing must not matter
    process.wait()
    if process.stdout:
        process.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a worker that outlived it would go on by itself in reality too
    return acknowledged, not finished


def union(folder: Path) -> list[str]:
    """Two processes add two halves at once; the base must hold both."""
    docs, data, rng = folder / "both", folder / "union", random.Random(7)
    for number in range(40):
        write_document(docs / ("a" if number % 2 else "b") / f"doc{number}.md", rng)
    processes = [run_child("add", data, [str(docs / half)], False) for half in "ab"]
    for process in processes:
        process.communicate(timeout=300)
    wrong = [f"an adding process ended with {p.returncode}" for p in processes if p.returncode]
    with base_in(data, chroma=False) as base:
        have = {document.uri for document in base.documents() if document.status == "ready"}
        missing = {str(path) for path in docs.rglob("*.md")} - have
        if missing:
            wrong.append(f"{len(missing)} documents of the union are missing")
        if not base.verify().clean:
            wrong.append("verify found something after two writers")
        if base.store.count_pending(base.model):
            wrong.append("chunks of the union have no vector")
    return wrong


def main(kills: int, seed: int, documents: int, chroma: bool) -> dict[str, object]:
    """Kill so many times; return figures and everything that went wrong."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="fovea-kills-"))
    docs, data = folder / "docs", folder / "data"
    for number in range(documents):
        write_document(docs / f"doc{number}.md", rng)
    spans = dict.fromkeys(VERBS, 1.0)
    counts: dict[str, dict[str, int]] = {verb: {"runs": 0, "killed in the middle": 0} for verb in VERBS}
    wrong: list[str] = []
    rebuilt: list[str] = []
    done = 0
    try:
        while done < kills:
            verb = VERBS[done % len(VERBS)]
            targets = [str(docs)]
            if verb == "add" and done:
                for _ in range(6):
                    write_document(docs / f"more-{rng.randrange(10**9)}.md", rng)
            elif verb == "refresh":
                change_files(docs, rng)
                targets = []
            elif verb == "rm":
                files = sorted(docs.rglob("*.md"))
                targets = [str(path) for path in rng.sample(files, k=min(30, len(files) * 2 // 3))]
            began = time.monotonic()
            acknowledged, in_middle = killed(
                verb, data, targets, rng.uniform(0, spans[verb]), whole_group=bool(done % 2), chroma=chroma
            )
            # Aim so that about three of four kills fall into the operation, wherever its speed is on this machine.
            spans[verb] = spans[verb] * 1.15 if in_middle else max(0.02, spans[verb] * 0.7)
            done += 1
            counts[verb]["runs"] += 1
            counts[verb]["killed in the middle"] += in_middle
            problems = check(data, acknowledged)
            if verb == "rm":
                shutil.rmtree(data)  # what was excluded by hand stays out: begin anew for the comparison
            problems += check_equal(data, docs)
            if chroma and done % 4 == 0:
                more, reason = check_chroma(data)
                problems += more
                if reason:
                    rebuilt.append(reason)
            wrong += [f"kill {done} ({verb}): {problem}" for problem in problems]
            print(f"{done}/{kills} {verb:8} {'killed' if in_middle else 'had ended'} {problems or 'well'}"
                  f" ({time.monotonic() - began:.1f} s)", flush=True)  # fmt: skip
        wrong += [f"two writers: {problem}" for problem in union(folder)]
    except MemoryRoomError as error:
        wrong.append(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"kills": done, "seed": seed, "verbs": counts, "chroma rebuilt": rebuilt, "wrong": wrong}


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]), sys.argv[5:], sys.argv[4] == "1")
        raise SystemExit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--no-chroma", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = main(options.kills, options.seed, options.documents, not options.no_chroma)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    raise SystemExit(1 if report["wrong"] else 0)
