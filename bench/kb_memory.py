"""Memory while much text is ingested: ``fovea kb add`` as it is, watched from outside.

    python -m bench.kb_memory --megabytes 1024 --model static --work FOLDER [--texts FILE.jsonl.xz] [--out FILE]

Files of about a megabyte are written to ``FOLDER/docs``, then the real command adds them to an empty data folder in a
process of its own. Meanwhile the kernel's counts are read four times a second: resident memory that belongs to the
process alone (``RssAnon``; this is what must be bounded) and resident pages of mapped files (``RssFile``; libraries and
the pages of ``memory.db``, which the system takes back when it needs them), for the program and for its reading
process. Every tenth of the way, through reading and through embedding, a row is kept.

``--model``: ``none`` (words alone), ``static`` (a sentence-transformers model of token vectors with random values, 384
dimensions, made in FOLDER: the same path as any model at a fraction of its arithmetic), or anything the setting takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.kb_speed import texts
from memory.embed import default_model_folder

ROWS = 10
STEP_SECONDS = 0.25
JOINED = 250
"""Texts a file: about a megabyte."""


def write_documents(folder: Path, megabytes: int, source: Path | None) -> int:
    """Write so much text in files of about a megabyte; return the bytes."""
    folder.mkdir(parents=True)
    stream, written, number = texts(source), 0, 0
    while written < megabytes << 20:
        body = "\n\n".join(next(stream) for _ in range(JOINED)).encode()[: (megabytes << 20) - written]
        (folder / f"{number}.md").write_bytes(body)
        written, number = written + len(body), number + 1
    return written


def static_model(folder: Path) -> Path:
    """Make a sentence-transformers model of random token vectors with the default model's tokenizer."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(default_model_folder() / "tokenizer.json"))
    weights = np.random.default_rng(1).normal(size=(tokenizer.get_vocab_size(), 384)).astype(np.float32)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    model.save(str(folder))
    return folder


def resident(process: psutil.Process) -> tuple[int, int]:
    """Memory of the process alone and of mapped files, in bytes; zeros once it has gone."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        found = dict(re.findall(r"^(RssAnon|RssFile):\s+(\d+) kB", status, re.MULTILINE))
        return int(found.get("RssAnon", 0)) << 10, int(found.get("RssFile", 0)) << 10
    return 0, 0


class Progress:
    """How far the command has come, read from its store."""

    def __init__(self, data: Path, total: int) -> None:
        self._path = data / "memory.db"
        self._total = total

    def read(self) -> tuple[int, int, int]:
        """Bytes read, chunks stored, vectors stored."""
        if not self._path.exists():
            return 0, 0, 0
        try:
            with contextlib.closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=5)) as one:
                done = one.execute("SELECT coalesce(sum(size), 0) FROM documents WHERE status = 'ready'").fetchone()[0]
                last = one.execute("SELECT coalesce(max(id), 0) FROM chunks").fetchone()[0]
                vectors = one.execute("SELECT count(*) FROM vectors").fetchone()[0] if done >= self._total else 0
        except sqlite3.OperationalError:
            return 0, 0, 0
        return int(done), int(last), int(vectors)


def watch(process: psutil.Popen, progress: Progress, total: int) -> Iterator[dict[str, object]]:
    """Sample until the command ends; give a row at every tenth of reading and of embedding, and one at the end."""
    began, looked = time.monotonic(), 0.0
    peaks: dict[str, int] = {}
    due = {"read": 0.0, "embedded": 0.0}
    row: dict[str, object] = {}
    while process.poll() is None:
        everyone = [process]
        with contextlib.suppress(psutil.Error):
            everyone += process.children(recursive=True)
        for number, one in enumerate(everyone):
            own, mapped = resident(one)
            role = "reader" if number else "program"
            peaks[f"{role} own"] = max(peaks.get(f"{role} own", 0), own)
            peaks[f"{role} mapped"] = max(peaks.get(f"{role} mapped", 0), mapped)
            if not number:
                now = {"own": own >> 20, "mapped": mapped >> 20}
        if time.monotonic() - looked > max(2.0, (time.monotonic() - began) / 200):
            looked = time.monotonic()
            done, chunks, vectors = progress.read()
            shares = {"read": done / total, "embedded": vectors / chunks if chunks and vectors else 0.0}
            phase = "embedded" if shares["embedded"] else "read"
            row = {
                "phase": phase,
                "share": round(shares[phase], 3),
                "MB read": done >> 20,
                "chunks": chunks,
                "vectors": vectors,
                "MB now": now,
                "peak MB": {name: size >> 20 for name, size in peaks.items()},
                "seconds": round(looked - began),
            }
            if shares[phase] >= due[phase]:
                due[phase] = (int(shares[phase] * ROWS) + 1) / ROWS
                yield row
        time.sleep(STEP_SECONDS)
    yield row | {"phase": "end", "peak MB": {name: size >> 20 for name, size in peaks.items()}}


def main(options: argparse.Namespace) -> dict[str, object]:
    """Write, add, watch; return the rows."""
    work: Path = options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    total = write_documents(work / "docs", options.megabytes, options.texts)
    model = str(static_model(work / "static")) if options.model == "static" else options.model
    environment = dict(os.environ) | {f"FOVEA_{name.upper()}": str(work / name) for name in ("data", "config", "cache")}
    (work / "config").mkdir()
    settings = {"memory": {"embedding_model": model}}
    (work / "config" / "generation_config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("fovea")), "kb", "add", str(work / "docs"), "--json"]
    with (work / "outcome.json").open("wb") as outcome:
        process = psutil.Popen(command, stdout=outcome, stderr=subprocess.STDOUT, env=environment)
    report: dict[str, object] = {"model": options.model, "megabytes": total >> 20, "rows": []}
    rows: list[dict[str, object]] = []
    report["rows"] = rows
    for row in watch(process, Progress(work / "data", total), total):
        rows.append(row)
        print(json.dumps(row), flush=True)
    report["exit"] = process.wait()
    report["database MB"] = (work / "data" / "memory.db").stat().st_size >> 20
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not options.keep:
        shutil.rmtree(work)
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--model", default="static")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--out", type=Path)
    ended = main(parser.parse_args())
    print(json.dumps({key: value for key, value in ended.items() if key != "rows"}))
