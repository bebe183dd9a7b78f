"""How ``fovea kb`` speaks: progress on standard error, results as text or JSON on standard output.

File names, titles and passages are foreign text and pass through ``one_line`` or ``harmless``; JSON is ASCII only.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from tui.render.harmless import harmless, one_line

if TYPE_CHECKING:
    from memory.ingest import Outcome, Progress
    from memory.kb.values import Found, KnowledgeStatus
    from memory.store import Chunk, Document, Placement

SHOWN = 20
"""Lines of one sort before "and N more"."""


def say_json(value: object) -> None:
    """One JSON value; ASCII only, so that foreign text cannot reach the terminal."""
    click.echo(json.dumps(value, indent=2))


def say(text: str) -> None:
    """One line for the person, beside the output."""
    click.echo(f"fovea: {one_line(text)}", err=True)


class ProgressLine:
    """One line on standard error with rate and remaining time; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Show a moment."""
        if not self._live:
            return
        left = "" if progress.seconds_left is None else f"  {duration(progress.seconds_left)} left"
        head = f"{progress.phase} {progress.done}/{progress.total}  {progress.rate:.1f}/s{left}"
        click.echo(f"\r\x1b[K{head}  {one_line(progress.current, 40)}", nl=False, err=True)

    def clear(self) -> None:
        """Leave the line empty."""
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)


def duration(seconds: float) -> str:
    """``0:42``, ``12:05``, ``3:20:00``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


@contextmanager
def interruptible() -> Iterator[Event]:
    """Ctrl-C (or a polite kill) finishes the document at hand and stops; a second one stops at once."""
    stop = Event()

    def pressed(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """Say what an operation did."""
    if as_json:
        failed = [{"document": name, "reason": reason} for name, reason in outcome.failed]
        marked = [{"document": name, "mark": mark} for name, mark in outcome.marked]
        say_json(asdict(outcome) | {"failed": failed, "marked": marked})
        return
    counts = [
        (outcome.added, "added"),
        (outcome.updated, "updated"),
        (outcome.removed, "removed"),
        (outcome.unchanged, "unchanged"),
        (len(outcome.failed), "left out"),
    ]
    done = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to do"
    chunks = f"; {outcome.new_chunks} new chunks, {outcome.embedded} embedded" if outcome.new_chunks else ""
    click.echo(f"{done}{chunks} in {duration(outcome.seconds)}.")
    _lines("left out", outcome.failed)
    _lines("changed on the way in", outcome.marked)
    if outcome.pending:
        click.echo(f"{outcome.pending} chunks have no vector yet and are found by words.")
    if outcome.note:
        say(outcome.note)
    if outcome.cancelled:
        click.echo("Stopped. What was done is kept; the same command goes on from here.")


def _lines(what: str, pairs: list[tuple[str, str]]) -> None:
    for name, reason in pairs[:SHOWN]:
        click.echo(f"  {what}: {one_line(name)}: {one_line(reason)}")
    if len(pairs) > SHOWN:
        click.echo(f"  … and {len(pairs) - SHOWN} more {what} (--json names them all)")


def place(document: Document, placement: Placement) -> str:
    """Where a passage stands, in the form that editors open: ``path:line``, or ``path, page 3``."""
    if placement.page_start is not None:
        last = placement.page_end or placement.page_start
        pages = (
            f"page {placement.page_start}" if last == placement.page_start else f"pages {placement.page_start}-{last}"
        )
        return f"{document.uri}, {pages}"
    return f"{document.uri}:{placement.line_start}" if placement.line_start else document.uri


def place_json(document: Document, placement: Placement) -> dict[str, Any]:
    """Where a passage stands, for programs."""
    return {
        "document": document.uri,
        "title": document.title,
        "heading": list(placement.heading),
        "char_start": placement.char_start,
        "char_end": placement.char_end,
        "line": placement.line_start,
        "page_start": placement.page_start,
        "page_end": placement.page_end,
    }


def show_found(found: list[Found], note: str, as_json: bool) -> None:
    """Show passages, best first."""
    if as_json:
        rows = [
            {
                "text": one.chunk.text,
                "score": one.scores.fused,
                "relevance": one.scores.relevance,
                "words": one.scores.words,
                "meaning": one.scores.meaning,
                "sources": [place_json(source.document, source.placement) for source in one.chunk.sources],
            }
            for one in found
        ]
        say_json({"passages": rows, "note": note})
        return
    if note:
        say(note)
    if not found:
        click.echo("Nothing found.")
    for number, one in enumerate(found, 1):
        routes = [
            f"{one.scores.relevance:.0%} likely to matter",
            "words" if one.scores.words is not None else "",
            f"meaning {one.scores.meaning:.2f}" if one.scores.meaning is not None else "",
        ]
        source = one.chunk.sources[0]
        more = f"  (+{len(one.chunk.sources) - 1} more places)" if len(one.chunk.sources) > 1 else ""
        click.echo(f"[{number}] {one_line(place(source.document, source.placement))}{more}")
        click.echo(f"    {' · '.join(route for route in routes if route)}  {one_line(one.chunk.context, 80)}")
        click.echo("    " + "\n    ".join(harmless(one.chunk.text).strip().splitlines()[:6]) + "\n")


def show_document(document: Document, chunks: list[tuple[Placement, Chunk]], as_json: bool) -> None:
    """Show one document with its chunks."""
    if as_json:
        rows = [{"text": chunk.text, **place_json(document, placement)} for placement, chunk in chunks]
        say_json({"document": asdict(document), "chunks": rows})
        return
    click.echo(f"{one_line(document.title)}\n{one_line(document.uri)}")
    click.echo(f"{document.format or 'unread'}, {document.size} bytes, {len(chunks)} chunks, {document.status}")
    for line in (document.reason, document.mark):
        if line:
            click.echo(one_line(line))
    for placement, chunk in chunks:
        click.echo(f"\n--- {one_line(place(document, placement))}  {one_line(' › '.join(placement.heading), 80)}")
        click.echo(harmless(chunk.text))


def show_status(status: KnowledgeStatus, as_json: bool) -> None:
    """Show counts and states."""
    if as_json:
        say_json(asdict(status))
        return
    counts = status.store
    documents = ", ".join(f"{count} {kind}s" for kind, count in counts.documents.items() if count) or "no documents"
    click.echo(f"{documents}; {counts.failed} left out")
    click.echo(f"{counts.chunks} chunks in {counts.placements} places, about {counts.tokens} tokens")
    click.echo(f"{counts.bytes / 1e6:.1f} MB in {one_line(status.folder)}")
    for model, count in counts.vectors.items():
        click.echo(f"{count} vectors of {one_line(model)}")
    if status.pending:
        click.echo(f"{status.pending} chunks have no vector of {one_line(status.model)} yet")
    click.echo(f"chromadb: {'in use' if status.index.usable else one_line(status.index.reason)}")
    for root in status.roots:
        click.echo(f"follows {one_line(root)}")
    for note in status.notes:
        say(note)
