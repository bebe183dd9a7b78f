"""Files into the store: read in a child process, compared by hash, committed one document at a time.

The order of work makes every moment safe to stop at: a document is words-searchable once its transaction is committed,
its vectors follow in small commits of their own, and whatever has no vector yet is simply found and embedded next time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memory.embed import Embedder
from memory.errors import IngestError
from memory.formats.host import ReadDocument, ReaderHost
from memory.formats.values import DEFAULT_LIMITS, ReadLimits
from memory.ingest.progress import Meter, Outcome, Report
from memory.ingest.walk import Found, uri_of
from memory.store import Document, DocumentInfo, Store

_AHEAD = 2
"""Documents read ahead of the one being stored; bounds memory at a few times the largest text."""
_WINDOW = 2048
"""Chunks sorted by length together, so that a batch wastes little on padding."""
_COMMIT = 64
"""Vectors a commit: about a second of work is what a kill can cost."""

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Task:
    """A file whose time or size differs from what is recorded."""

    found: Found
    uri: str
    held: Document | None
    size: int
    mtime_ns: int


def ingest_files(
    store: Store,
    files: Sequence[Found],
    *,
    limits: ReadLimits = DEFAULT_LIMITS,
    report: Report | None = None,
    cancelled: Cancelled = lambda: False,
    retry_failed: bool = True,
) -> Outcome:
    """Bring the documents of these files up to date.

    Args:
        store: Where to.
        files: Which files.
        limits: Bounds on each document.
        report: Told how far it has come.
        cancelled: Asked between documents.
        retry_failed: Whether unchanged files that could not be read last time are tried again.
    """
    outcome = Outcome()
    meter = Meter("reading", len(files), report)
    tasks = []
    for found in files:
        task = _task(store, found, outcome, retry_failed)
        if task is None:
            meter.advance(1, str(found.path))
        else:
            tasks.append(task)
    for task, result in _read_ahead(tasks, limits, cancelled):
        _store(store, task, result, outcome)
        meter.advance(1, task.uri)
    outcome.cancelled = cancelled()
    return outcome


def _task(store: Store, found: Found, outcome: Outcome, retry_failed: bool) -> _Task | None:
    """Compare a file with the manifest by size and time; None where nothing is to be read."""
    uri = uri_of(found.path)
    held = store.document("file", uri)
    try:
        status = found.path.stat()
    except OSError as error:
        _failed(store, uri, held, found, f"cannot be opened: {error.strerror or error}", outcome)
        return None
    same = held is not None and (held.size, held.mtime_ns) == (status.st_size, status.st_mtime_ns)
    if held is not None and same:
        if held.status == "ready":
            outcome.unchanged += 1
            return None
        if not retry_failed:
            outcome.failed.append((uri, held.reason))
            return None
    return _Task(found, uri, held, status.st_size, status.st_mtime_ns)


def _store(store: Store, task: _Task, result: ReadDocument | IngestError, outcome: Outcome) -> None:
    held = task.held
    if isinstance(result, IngestError):
        _failed(store, task.uri, held, task.found, str(result), outcome, task.size, task.mtime_ns)
        return
    if result.same and held is not None:
        store.touch(held, result.mtime_ns, result.size)
        outcome.unchanged += 1
        return
    info = DocumentInfo(
        title=result.title or task.found.path.name.encode("utf-8", "replace").decode("utf-8"),
        content_hash=result.content_hash,
        size=result.size,
        mtime_ns=result.mtime_ns,
        format=result.format,
        mark=result.mark,
        root=task.found.root or (held.root if held else ""),
        private=task.found.private or (held is not None and held.private),
    )
    put = store.put_pieces("file", task.uri, result.pieces, info, titled=bool(result.title))
    if held is None or held.status == "failed":
        outcome.added += 1
    else:
        outcome.updated += 1
    outcome.new_chunks += put.new_chunks
    outcome.removed_chunks += put.removed_chunks
    if result.mark:
        outcome.marked.append((task.uri, result.mark))


def _failed(
    store: Store,
    uri: str,
    held: Document | None,
    found: Found,
    reason: str,
    outcome: Outcome,
    size: int = 0,
    mtime_ns: int = 0,
) -> None:
    outcome.failed.append((uri, reason))
    info = DocumentInfo(
        title=Path(uri).name,
        size=size,
        mtime_ns=mtime_ns,
        root=found.root or (held.root if held else ""),
        private=found.private or (held is not None and held.private),
    )
    store.put_failed("file", uri, reason, info)


def _read_ahead(
    tasks: Sequence[_Task], limits: ReadLimits, cancelled: Cancelled
) -> Iterator[tuple[_Task, ReadDocument | IngestError]]:
    """Read documents in a thread, so that the child works while the last one is being stored."""
    if not tasks:
        return
    ready: queue.Queue[tuple[_Task, ReadDocument | IngestError | BaseException] | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: tuple[_Task, ReadDocument | IngestError | BaseException] | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def run() -> None:
        with ReaderHost(limits) as host:
            for task in tasks:
                if stop.is_set() or cancelled():
                    break
                known = (task.held.content_hash,) if task.held and task.held.status == "ready" else ()
                try:
                    put((task, host.read(task.found.path, known=known)))
                except IngestError as error:
                    put((task, error))
                except BaseException as error:  # carried to the caller's thread
                    put((task, error))
                    break
        put(None)

    thread = threading.Thread(target=run, name="kb-reader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            task, result = item
            if isinstance(result, BaseException) and not isinstance(result, IngestError):
                raise result
            yield task, result
    finally:
        stop.set()
        thread.join()


def remove_missing(store: Store, documents: Sequence[Document], keep: set[str], problems: Sequence[str]) -> int:
    """Remove documents that are no longer among the files of their root.

    Args:
        store: Where from.
        documents: Candidates.
        keep: Names of files that are still there.
        problems: Folders that could not be read: what lies under them is left alone.
    """
    removed = 0
    for document in documents:
        if document.uri in keep or any(document.uri.startswith(folder.rstrip("/") + "/") for folder in problems):
            continue
        removed += store.remove_document("file", document.uri)
    return removed


def embed_pending(
    store: Store, embedder: Embedder, *, report: Report | None = None, cancelled: Cancelled = lambda: False
) -> int:
    """Embed every chunk that has no vector of this model yet, in small commits; return how many."""
    meter = Meter("embedding", store.count_pending(embedder.name), report)
    after = 0
    while not cancelled():
        window = store.pending(embedder.name, _WINDOW, after)
        if not window:
            break
        after = max(chunk.id for chunk in window)
        window.sort(key=lambda chunk: len(chunk.text) + len(chunk.context), reverse=True)
        for start in range(0, len(window), _COMMIT):
            if cancelled():
                break
            part = window[start : start + _COMMIT]
            rows = embedder.encode([embedding_text(chunk.context, chunk.text) for chunk in part])
            store.put_vectors(embedder.name, ((chunk.id, row) for chunk, row in zip(part, rows, strict=True)))
            meter.advance(len(part))
    return meter.done


def embedding_text(context: str, text: str) -> str:
    """Return what is embedded for a chunk: its title and heading path on a line of their own, then its text."""
    return f"{context}\n{text}" if context else text


__all__ = ["Cancelled", "embed_pending", "embedding_text", "ingest_files", "remove_missing"]
