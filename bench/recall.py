"""Recall quality on public data with marked evidence: words, meaning, both, and a plain chromadb query.

    python -m bench.recall EVAL_FOLDER --cache FOLDER --out recall.json [--sets locomo,code,squad,xquad] [--quick]

Every set is put into a real store through the same calls the program uses, and asked through the same ``Recaller``;
only joining and packing are left out, because they would let one passage stand for several chunks. No model but the
embedding model is involved, and nothing is written but the result and the cache of embeddings.

Measures, per question with the set G of marked chunks: recall@k = |G in the first k| / |G| (the mean-recall form), MRR
= 1 / place of the first, nDCG@10 with binary gains. Intervals: 95 % percentile bootstrap over questions, 1,000 draws.

Numbers in ``Tuning`` were chosen on the first two LoCoMo dialogues and on the code questions with an even index; the
third dialogue and the odd questions are reported by themselves beside the whole. Milliseconds are processor time of one
question without its embedding, which other programs on the machine change less than the clock.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.recall_cache import CachedEmbedder
from memory.chunking.values import Piece
from memory.ingest.pipeline import embedding_text
from memory.recall.conversations import Turn, index_conversation
from memory.recall.engine import Recaller
from memory.recall.text import query_terms
from memory.recall.values import DEFAULT_TUNING, Tuning
from memory.store import DocumentInfo, Store

CUTS = (1, 5, 10, 20)
DRAWS = 1000
LOCOMO_TYPES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}

System = Callable[[Store, Recaller, str], list[int]]


@dataclass(frozen=True)
class Ask:
    """One question with the chunks that answer it."""

    text: str
    gold: frozenset[int]
    type: str = "all"
    held_out: bool = False


@dataclass
class Base:
    """One store with its questions; ``group`` maps chunks to the units that are counted (themselves by default)."""

    name: str
    store: Store
    asks: list[Ask]
    group: dict[int, int] = field(default_factory=dict)


@dataclass
class Row:
    """The outcome of one question under one system."""

    base: str
    type: str
    held_out: bool
    values: dict[str, float]
    ms: float


# Sets -----------------------------------------------------------------------------------------------------------


def locomo(folder: Path, scratch: Path, *, captions: bool) -> Iterator[tuple[Base, Base]]:
    """Three dialogues: each a base of sessions, asked for turns and for sessions."""
    for number, sample in enumerate(_load(folder / "locomo_dev.json.xz")):
        store = Store(scratch / f"locomo{number}{captions}")
        talk = sample["conversation"]
        ids: dict[str, int] = {}
        sessions: dict[int, int] = {}
        for session in range(1, 100):
            turns = talk.get(f"session_{session}")
            if turns is None:
                continue
            said = [Turn(turn["speaker"], _turn_text(turn, captions)) for turn in turns]
            title = f"Conversation of {talk[f'session_{session}_date_time']}"
            put = index_conversation(store, f"session-{session}", title, said)
            chunks = [chunk.id for _, chunk in store.document_chunks(put.document_id)]
            ids.update(zip((turn["dia_id"] for turn in turns), chunks, strict=True))
            sessions.update((chunk, session) for chunk in chunks)
        by_turn, by_session = [], []
        for qa in sample["qa"]:
            evidence = [mark for text in qa["evidence"] for mark in re.findall(r"D\d+:\d+", text)]
            gold = frozenset(ids[mark] for mark in evidence if mark in ids)
            if gold:
                kind = LOCOMO_TYPES[qa["category"]]
                by_turn.append(Ask(qa["question"], gold, kind, number == 2))
                by_session.append(Ask(qa["question"], frozenset(sessions[chunk] for chunk in gold), kind, number == 2))
        yield (
            Base(f"dialogue {number + 1}", store, by_turn),
            Base(f"dialogue {number + 1}", store, by_session, sessions),
        )


def code(folder: Path, scratch: Path) -> Base:
    """Anthropic's contextual-retrieval set: 737 chunks of 90 files as they are given, 248 questions."""
    store = Store(scratch / "code")
    ids: dict[tuple[str, int], int] = {}
    for document in _load(folder / "code_retrieval_chunks.json.xz"):
        pieces, start = [], 0
        for chunk in document["chunks"]:
            text = chunk["content"]
            pieces.append(Piece(text, start, start + len(text)))
            start += len(text) + 1
        put = store.put_pieces("file", document["doc_id"], pieces, DocumentInfo(format="code"))
        for chunk, (_, stored) in zip(document["chunks"], store.document_chunks(put.document_id), strict=True):
            ids[document["original_uuid"], chunk["original_index"]] = stored.id
    asks = []
    for number, question in enumerate(_load(folder / "code_retrieval_questions.json.xz")):
        gold = frozenset(ids[uuid, index] for uuid, index in question["golden_chunk_uuids"])
        asks.append(Ask(question["query"], gold, "code", bool(number % 2)))
    return Base("code", store, asks)


def paragraphs(folder: Path, scratch: Path, name: str, source: str, limit: int) -> Base:
    """Questions over the paragraphs of one collection, one document a title (or a paragraph where there is none)."""
    rows = [row for row in _load_lines(folder / name) if row["source"] == source and row.get("context")]
    store = Store(scratch / source)
    by_title: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        by_title[row.get("title") or row["context"][:40]][row["context"]] = None
    ids: dict[str, int] = {}
    for title, texts in by_title.items():
        pieces, start = [], 0
        for text in texts:
            pieces.append(Piece(text, start, start + len(text)))
            start += len(text) + 2
        named = title if rows[0].get("title") else ""
        put = store.put_pieces("file", title, pieces, DocumentInfo(title=named, format="text"))
        chunks = store.document_chunks(put.document_id)
        ids.update((text, chunk.id) for text, (_, chunk) in zip(texts, chunks, strict=True))
    step = max(1, len(rows) // limit)
    asks = [Ask(row["question"], frozenset({ids[row["context"]]}), source, True) for row in rows[::step]]
    return Base(source, store, asks)


# Systems --------------------------------------------------------------------------------------------------------


def words_only(store: Store, _: Recaller, query: str) -> list[int]:
    """The word index by itself: BM25 of single chunks."""
    return [hit.chunk_id for hit in store.search_words(query_terms(query), 100)]


def systems(embedder: CachedEmbedder, tuning: Tuning) -> dict[str, tuple[Tuning, System]]:
    """Everything that is compared."""

    def meaning_only(store: Store, _: Recaller, query: str) -> list[int]:
        return [hit.chunk_id for hit in store.search_vectors(embedder.encode_query(query), 100, model=embedder.name)]

    def ordered(_: Store, recaller: Recaller, query: str) -> list[int]:
        return [one.chunk_id for one in recaller.order(query, 100)]

    return {
        "words": (tuning, words_only),
        "meaning": (tuning, meaning_only),
        "words, neighbours": (replace(tuning, words_share=1.0), ordered),
        "fused, rrf": (replace(tuning, fusion="rrf", near=()), ordered),
        "fused, rrf, neighbours": (replace(tuning, fusion="rrf"), ordered),
        "fused, blend": (replace(tuning, near=()), ordered),
        "fused": (tuning, ordered),
    }


def chroma_plain(base: Base, embedder: CachedEmbedder) -> list[Row]:
    """The baseline: texts into a chromadb collection, questions to ``query``; with our embeddings, cosine."""
    import chromadb

    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False, allow_reset=True))
    client.reset()
    collection = client.create_collection("plain", metadata={"hnsw:space": "cosine"}, embedding_function=None)
    chunks = _all_chunks(base.store)
    texts = [text for _, _, text in chunks]
    for start in range(0, len(texts), 1000):
        part = slice(start, start + 1000)
        collection.add(
            ids=[str(chunk_id) for chunk_id, _, _ in chunks[part]], embeddings=embedder.encode(texts[part]).tolist()
        )
    rows = []
    for ask in base.asks:
        vector = embedder.encode_query(ask.text)
        began = time.process_time()
        found = collection.query(query_embeddings=[vector.tolist()], n_results=min(100, len(texts)), include=[])
        ms = (time.process_time() - began) * 1000
        rows.append(_row(base, ask, [int(one) for one in found["ids"][0]], ms))
    return rows


# Measuring ------------------------------------------------------------------------------------------------------


Orders = dict[tuple[str, str, str], tuple[list[int], float]]
"""Store, system and question to the ranking and its milliseconds: turns and sessions are counted on one ranking."""


def run(base: Base, name: str, system: System, tuning: Tuning, embedder: CachedEmbedder, orders: Orders) -> list[Row]:
    """Ask every question of a base."""
    recaller = Recaller(base.store, lambda: embedder, tuning=tuning)
    rows = []
    for ask in base.asks:
        key = (str(base.store.folder), name, ask.text)
        if key not in orders:
            began = time.process_time()
            order = system(base.store, recaller, ask.text)
            orders[key] = (order, (time.process_time() - began) * 1000)
        rows.append(_row(base, ask, *orders[key]))
    recaller.close()
    return rows


def _row(base: Base, ask: Ask, order: Sequence[int], ms: float) -> Row:
    units = list(dict.fromkeys(base.group[chunk] for chunk in order)) if base.group else list(order)
    return Row(base.name, ask.type, ask.held_out, measures(units, ask.gold), ms)


def measures(order: Sequence[int], gold: frozenset[int]) -> dict[str, float]:
    """Recall at the cuts, reciprocal rank, nDCG@10 and evidence completeness of one ranking."""
    values = {f"R@{cut}": len(gold & set(order[:cut])) / len(gold) for cut in CUTS}
    values["MRR"] = next((1 / place for place, one in enumerate(order, 1) if one in gold), 0.0)
    gain = sum(1 / np.log2(place + 1) for place, one in enumerate(order[:10], 1) if one in gold)
    ideal = sum(1 / np.log2(place + 1) for place in range(1, min(len(gold), 10) + 1))
    values["nDCG@10"] = float(gain / ideal)
    return values


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means in percent with bootstrap intervals, milliseconds of processor time, and the same by question type."""
    if not rows:
        return {}
    table = {name: np.array([row.values[name] for row in rows]) for name in rows[0].values}
    draws = np.random.default_rng(7).integers(0, len(rows), (DRAWS, len(rows)))
    result: dict[str, Any] = {"questions": len(rows), "ms": round(statistics.median(row.ms for row in rows), 2)}
    for name, values in table.items():
        low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
        result[name] = [round(100 * float(value), 1) for value in (values.mean(), low, high)]
    types = sorted({row.type for row in rows})
    if len(types) > 1:
        result["types"] = {
            kind: {
                name: round(100 * statistics.mean(row.values[name] for row in rows if row.type == kind), 1)
                for name in ("R@1", "R@5", "R@10")
            }
            | {"questions": sum(1 for row in rows if row.type == kind)}
            for kind in types
        }
    return result


def embed_base(base: Base, embedder: CachedEmbedder) -> None:
    """Give every chunk of a base its vector, as ingest would."""
    chunks = _all_chunks(base.store)
    vectors = embedder.encode([embedding_text(context, text) for _, context, text in chunks])
    base.store.put_vectors(embedder.name, zip((chunk[0] for chunk in chunks), vectors, strict=True))


def _all_chunks(store: Store) -> list[tuple[int, str, str]]:
    rows = store.database.connection.execute("SELECT id, context, text FROM chunks ORDER BY id")
    return [(int(row[0]), str(row[1]), str(row[2])) for row in rows]


def _turn_text(turn: dict[str, Any], captions: bool) -> str:
    caption = turn.get("blip_caption") if captions else None
    return f"{turn['text']} [shares {caption}]" if caption else str(turn["text"])


def _load(path: Path) -> Any:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def _load_lines(path: Path) -> list[dict[str, Any]]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def collect(args: argparse.Namespace, scratch: Path, embedder: CachedEmbedder) -> dict[str, list[Base]]:
    """Build the stores that are asked for."""
    wanted = set(args.sets.split(","))
    sets: dict[str, list[Base]] = {}
    if "locomo" in wanted:
        pairs = list(locomo(args.folder, scratch, captions=not args.no_captions))
        sets["LoCoMo turns"] = [turns for turns, _ in pairs]
        sets["LoCoMo sessions"] = [sessions for _, sessions in pairs]
    if "code" in wanted:
        sets["code"] = [code(args.folder, scratch)]
    if "squad" in wanted:
        sets["SQuAD 1.1"] = [paragraphs(args.folder, scratch, "qa_en.jsonl.xz", "squad1.1-dev", args.limit)]
    if "xquad" in wanted:
        sets["XQuAD Russian"] = [paragraphs(args.folder, scratch, "qa_ru.jsonl.xz", "xquad-ru", args.limit)]
    for bases in sets.values():
        for base in bases:
            if not base.store.count_pending(embedder.name):
                continue
            embed_base(base, embedder)
    return sets


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sets", default="locomo,code,squad,xquad")
    parser.add_argument("--systems", default="")
    parser.add_argument("--limit", type=int, default=600, help="questions taken from each paragraph set")
    parser.add_argument("--no-captions", action="store_true", help="LoCoMo without its picture captions")
    parser.add_argument("--tuning", default="{}", help="JSON of Tuning fields")
    args = parser.parse_args()
    changes = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(args.tuning).items()
    }
    tuning = replace(DEFAULT_TUNING, **changes)
    embedder = CachedEmbedder(args.cache)
    results: dict[str, Any] = {}
    orders: Orders = {}
    with tempfile.TemporaryDirectory() as folder:
        sets = collect(args, Path(folder), embedder)
        embedder.warm([ask.text for bases in sets.values() for base in bases for ask in base.asks])
        for name, bases in sets.items():
            results[name] = {}
            table = systems(embedder, tuning)
            chosen = args.systems.split(";") if args.systems else [*table, "chromadb"]
            for system in chosen:
                if system == "chromadb":
                    rows = [row for base in bases for row in chroma_plain(base, embedder)]
                else:
                    one, call = table[system]
                    rows = [row for base in bases for row in run(base, system, call, one, embedder, orders)]
                results[name][system] = summary(rows)
                held = [row for row in rows if row.held_out]
                if held and len(held) < len(rows):
                    results[name][system]["held out"] = summary(held)
                _show(name, system, results[name][system])
                if args.out:  # after every system: a run that is stopped keeps what it has
                    args.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(markdown(results))


def markdown(results: dict[str, Any]) -> str:
    """The results as the tables of docs/memory.md: percent with 95 % intervals."""
    lines = []
    for name, table in results.items():
        some = next(iter(table.values()))
        lines += [f"\n**{name}** ({some['questions']} questions)\n"]
        lines += ["| system | R@1 | R@5 | R@10 | R@20 | MRR | nDCG@10 | ms |", "|---|---|---|---|---|---|---|---|"]
        for system, row in table.items():
            cells = [_cell(row[key]) for key in ("R@1", "R@5", "R@10", "R@20", "MRR", "nDCG@10")]
            lines.append(f"| {system} | {' | '.join(cells)} | {row['ms']} |")
            if "held out" in row:
                cells = [_cell(row["held out"][key]) for key in ("R@1", "R@5", "R@10", "R@20", "MRR", "nDCG@10")]
                lines.append(f"| {system}, held out | {' | '.join(cells)} | |")
        for system in ("words", "meaning", "fused"):
            types = table.get(system, {}).get("types", {})
            for kind, row in types.items():
                lines.append(
                    f"- {system}, {kind} ({row['questions']}): R@1 {row['R@1']}, R@5 {row['R@5']}, R@10 {row['R@10']}"
                )
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    mean, low, high = values
    return f"{mean:.1f} ({low:.1f}–{high:.1f})"


def _show(name: str, system: str, result: dict[str, Any]) -> None:
    cells = " ".join(f"{result[key][0]:5.1f}" for key in ("R@1", "R@5", "R@10", "R@20", "MRR", "nDCG@10"))
    held = result.get("held out")
    also = "  held out " + " ".join(f"{held[key][0]:5.1f}" for key in ("R@1", "R@5", "R@10", "R@20")) if held else ""
    print(f"{name:16} {system:24} {cells}  {result['ms']:6.1f} ms{also}", flush=True)


if __name__ == "__main__":
    main()
