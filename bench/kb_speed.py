"""How fast the knowledge base is: search at many chunks, one more file, ingest against the bare model.

    python -m bench.kb_speed search --base FOLDER [--chunks 100000] [--texts FILE.jsonl.xz] [--model]
    python -m bench.kb_speed add-one --base FOLDER
    python -m bench.kb_speed ingest [--chunks 600] [--texts FILE.jsonl.xz]

``--base`` keeps the base between runs (making 100,000 chunks takes minutes). Its vectors are random unit vectors: the
cost of a search does not depend on their direction. Every time is given twice, as wall time and as CPU time of all
threads of this process, because on a shared machine only the second tells what the work costs. Texts are taken from a
``.jsonl.xz`` with a ``text`` field, or made up from a Zipf distribution of words.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from memory.chunking import chunk_text
from memory.embed import BackgroundEmbedder, SentenceEmbedder, Vectors, identity
from memory.ingest import embedding_text
from memory.kb import KnowledgeBase, KnowledgeSettings
from memory.recall.engine import Recaller
from memory.recall.text import query_terms
from memory.store import DocumentInfo, Store, reads

MODEL = "all-MiniLM-L6-v2"
DIM = 384


class Fixed:
    """An embedder that costs nothing: what is left is the store."""

    name = identity(MODEL)

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def encode(self, texts: list[str]) -> Vectors:
        """Embed passages."""
        rows = self._rng.normal(size=(len(texts), DIM)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_query(self, text: str) -> Vectors:
        """Embed a question."""
        return self.encode([text])[0]


def texts(source: Path | None, seed: int = 0) -> Iterator[str]:
    """Documents without end: from a file, then made up."""
    if source is not None:
        with lzma.open(source, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield str(json.loads(line).get("text", ""))
    rng = np.random.default_rng(seed)
    while True:
        words = [f"word{n % 60_000}" for n in rng.zipf(1.25, 700)]
        yield ". ".join(" ".join(words[start : start + 12]) for start in range(0, len(words), 12)) + "."


def filled(folder: Path, chunks: int, source: Path | None) -> Store:
    """A base of so many chunks with random vectors, kept for the next run."""
    store = Store(folder)
    number = len(store.documents())
    held = store.stats().chunks
    for text in texts(source):
        if held >= chunks:
            break
        number += 1
        info = DocumentInfo(title=f"{number}.md")
        pieces = chunk_text(text, "markdown")
        held += store.put_pieces("file", f"/docs/{number}.md", pieces, info, titled=False).new_chunks
    embedder = Fixed()
    while waiting := store.pending(embedder.name, 2048):
        rows = embedder.encode([chunk.text for chunk in waiting])
        store.put_vectors(embedder.name, zip((chunk.id for chunk in waiting), rows, strict=True))
    store.database.checkpoint()
    return store


def timed(work: Callable[[str], object], questions: list[str]) -> dict[str, float]:
    """p50 and p95 of wall and CPU milliseconds."""
    wall, cpu = [], []
    for question in questions:
        began, used = time.perf_counter(), time.process_time()
        work(question)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))
    at = [statistics.quantiles(values, n=20) for values in (wall, cpu)]
    names = ("wall p50", "wall p95", "cpu p50", "cpu p95")
    return dict(zip(names, (round(v, 1) for cut in at for v in (cut[9], cut[18])), strict=True))


def questions(store: Store, count: int) -> list[str]:
    """Questions of five to nine words that stand together somewhere, with a common word or two among them."""
    rng, out = random.Random(3), []
    total = store.stats().chunks
    while len(out) < count:
        found = store.chunks([rng.randrange(1, total + 1)])
        words = found[0].text.split() if found else []
        if len(words) > 12:
            at, size = rng.randrange(len(words) - 9), rng.randrange(5, 10)
            out.append(" ".join(words[at : at + size]))
    return out


def recall_times(store: Store, embedder: Fixed | SentenceEmbedder, asked: list[str]) -> dict[str, float]:
    """Whole recalls as the chat asks for them: with a deadline, so that the two routes run side by side."""
    recaller = Recaller(store, lambda: embedder)
    recaller.recall(asked[0], 600, deadline_s=30)
    times = timed(lambda q: recaller.recall(q, 600, deadline_s=30), asked)
    recaller.close()
    return times


def search(options: argparse.Namespace) -> dict[str, object]:
    """Search at many chunks."""
    with filled(options.base, options.chunks, options.texts) as store:
        asked = questions(store, 200)
        connection = store.database.connection
        bits = 31
        store.search_words(["warm"], 5)
        out: dict[str, object] = {"chunks": store.stats().chunks, "megabytes on disk": store.stats().bytes >> 20}
        out["words by FTS5"] = timed(lambda q: reads.search_words(connection, query_terms(q), 100, bits), asked[:60])
        began, used = time.perf_counter(), time.process_time()
        store.warm(identity(MODEL))
        out["warm: seconds"] = {
            "wall": round(time.perf_counter() - began, 1),
            "cpu": round(time.process_time() - used, 1),
        }
        out["words in memory"] = timed(lambda q: store.search_words(query_terms(q), 100), asked)
        vector = Fixed().encode_query("x")
        out["vectors, exact"] = timed(lambda q: store.search_vectors(vector, 100, model=identity(MODEL)), asked)
        out["recall without the embedding of the question"] = recall_times(store, Fixed(), asked)
        if options.model:
            embedder = SentenceEmbedder(MODEL)
            out["embedding of the question"] = timed(embedder.encode_query, asked)
            out["recall"] = recall_times(store, embedder, asked)
        out["peak resident MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return out


def add_one(options: argparse.Namespace) -> dict[str, object]:
    """Add one file to a large base; the embedder costs nothing, so this is everything but the embedding."""
    with filled(options.base, options.chunks, options.texts) as store, tempfile.TemporaryDirectory() as folder:
        base = KnowledgeBase(
            options.base, KnowledgeSettings(index="exact"), embedder=BackgroundEmbedder(Fixed), store=store
        )
        base.embedder.wait()
        seconds = []
        for number in range(5):
            path = Path(folder) / f"one{number}.md"
            path.write_text(f"# One more {number}\n\n" + next(texts(None, number)), encoding="utf-8")
            began = time.perf_counter()
            outcome = base.add([str(path)])
            seconds.append(round(time.perf_counter() - began, 3))
            base.remove([str(path)])
            assert outcome.added == 1, outcome
        base.close()
        return {"chunks": store.stats().chunks, "seconds, each from a new reading process": seconds}


def ingest(options: argparse.Namespace) -> dict[str, object]:
    """The whole of ``kb add`` against the bare model on the same texts, in turns."""
    embedder = SentenceEmbedder(MODEL)
    rates: dict[str, list[float]] = {"bare": [], "kb add": []}
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "docs"
        docs.mkdir()
        pieces: list[str] = []
        for number, text in enumerate(texts(options.texts)):
            body = f"# Document {number}\n\n{text}"
            cut = chunk_text(body, "markdown")
            pieces += [embedding_text(f"Document {number}", piece.text) for piece in cut]
            (docs / f"{number}.md").write_text(body, encoding="utf-8")
            if len(pieces) >= options.chunks:
                break
        embedder.encode(pieces[:64])

        def bare(_: int) -> float:
            began = time.perf_counter()
            embedder.encode(pieces)
            return len(pieces) / (time.perf_counter() - began)

        def added(turn: int) -> float:
            with KnowledgeBase(Path(folder) / f"data{turn}", embedder=BackgroundEmbedder(lambda: embedder)) as base:
                began = time.perf_counter()
                outcome = base.add([str(docs)])
                return outcome.embedded / (time.perf_counter() - began)

        for turn in range(options.turns):
            both = [("bare", bare), ("kb add", added)]
            for name, work in both if turn % 2 else both[::-1]:  # whoever goes first profits from a cool processor
                rates[name].append(round(work(turn), 2))
    ratio = [b / a for a, b in zip(rates["bare"], rates["kb add"], strict=True)]
    return {
        "chunks": len(pieces),
        "chunks a second": rates,
        "kb add / bare": {
            "median": round(statistics.median(ratio), 3),
            "each": [round(one, 3) for one in ratio],
        },
        "peak resident MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "add-one", "ingest"))
    parser.add_argument("--base", type=Path)
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--model", action="store_true", help="embed the questions with the real model")
    parser.add_argument("--turns", type=int, default=2)
    chosen = parser.parse_args()
    chosen.chunks = chosen.chunks or (600 if chosen.what == "ingest" else 100_000)
    works = {"search": search, "add-one": add_one, "ingest": ingest}
    print(json.dumps(works[chosen.what](chosen), indent=2))
