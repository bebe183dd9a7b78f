"""Past conversations in the store: one document each, one chunk a turn, so that a citation opens at the turn.

Whether conversations are remembered at all is the caller's setting; what is handed over here is recalled like anything
else, under the kind ``conversation``, until ``forget_conversations``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from memory.chunking import chunk_text
from memory.chunking.values import Piece
from memory.store import DocumentInfo, PutResult, Store
from memory.store.erase import erase

KIND = "conversation"
LONG_TURN = 1200  # characters; a longer turn is cut by its own structure


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    speaker: str
    """Who said it, as it should read in a quotation: a name, "You", a model's name."""
    text: str


def index_conversation(
    store: Store, conversation_id: str, title: str, turns: Sequence[Turn], *, when: float = 0.0, private: bool = False
) -> PutResult:
    """Store a conversation, replacing what was stored under its id; turns that did not change keep their vectors.

    Args:
        store: open for writing.
        conversation_id: its name for good.
        title: shown with every quotation and searched with every turn; a date in it makes "last May" findable.
        turns: in order; the whole conversation.
        when: seconds since the epoch of its last turn.
        private: never recalled.

    Returns:
        What changed.
    """
    text, pieces = transcript(turns)
    info = DocumentInfo(
        title=title,
        content_hash=hashlib.sha256(f"{title}\0{text}".encode("utf-8", "surrogatepass")).hexdigest(),
        size=len(text.encode("utf-8", "surrogatepass")),
        mtime_ns=int(when * 1e9),
        format="conversation",
        private=private,
    )
    return store.put_pieces(KIND, conversation_id, pieces, info)


def stored_conversations(store: Store) -> dict[str, float]:
    """The stored conversations by id, with the Unix time in seconds of what was stored."""
    return {document.uri: document.mtime_ns / 1e9 for document in store.documents([KIND])}


def forget_conversations(store: Store, ids: Iterable[str]) -> None:
    """Remove conversations with their words and vectors, and overwrite what held them.

    A vector index that was derived may keep a number vector, never text, as a tombstone until it is made anew.
    """
    held = stored_conversations(store)
    gone = [(KIND, id) for id in ids if id in held]
    if gone:
        erase(store, gone)


def transcript(turns: Sequence[Turn]) -> tuple[str, list[Piece]]:
    """The text a conversation's spans count in, and its chunks: ``Speaker: text``, one line a turn or more."""
    pieces: list[Piece] = []
    parts: list[str] = []
    start, line = 0, 1
    for turn in turns:
        said = turn.text.strip()
        if not said:
            continue
        part = f"{turn.speaker}: {said}"
        pieces += [
            replace(piece, start=piece.start + start, end=piece.end + start, line=piece.line + line - 1)
            for piece in _cut(part)
        ]
        parts.append(part)
        start += len(part) + 1
        line += part.count("\n") + 1
    return "\n".join(parts), pieces


def _cut(part: str) -> list[Piece]:
    if len(part) <= LONG_TURN:
        return [Piece(part, 0, len(part), (), 1)]
    return chunk_text(part, "text")
