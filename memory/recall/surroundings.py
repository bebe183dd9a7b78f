"""What stands around a passage in its document, so that a citation opens at the place and not as a torn-out piece."""

from __future__ import annotations

from dataclasses import dataclass

from memory.store import Store

REACH = 20  # chunks on each side: some screens of text


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A stretch of a document as it is stored. Foreign text."""

    text: str
    start: int
    """The passage is ``text[start:end]``."""
    end: int


def surroundings(store: Store, kind: str, uri: str, start: int, end: int, reach: int = REACH) -> Surroundings | None:
    """The text around characters ``start`` to ``end`` of a document.

    Args:
        store: the store.
        kind: of the document.
        uri: its name within the kind.
        start: first character of the passage, in the document's text.
        end: one past its last.
        reach: chunks on each side.

    Returns:
        The stretch, or None where the document, or the place in it, is there no more.
    """
    document = store.document(kind, uri)
    if document is None:
        return None
    placed = store.document_chunks(document.id)
    hit = [at for at, (placement, _) in enumerate(placed) if placement.char_start < end and placement.char_end > start]
    if not hit:
        return None
    text, at, bounds = "", 0, [0, 0]
    for placement, chunk in placed[max(hit[0] - reach, 0) : hit[-1] + reach + 1]:
        overlap = max(at - placement.char_start, 0) if text else 0
        if overlap >= len(chunk.text):
            continue
        # What lies between two chunks is white space or left out on purpose; its lines are what the eye needs.
        gap = "\n" * min(max(placement.char_start - at, 1), 2) if text and not overlap else ""
        text += gap + chunk.text[overlap:]
        at = placement.char_end
        offset = len(text) - len(chunk.text)
        if placement.char_start <= start < placement.char_end:
            bounds[0] = offset + start - placement.char_start
        if placement.char_start < end <= placement.char_end:
            bounds[1] = offset + end - placement.char_start
    return Surroundings(text, max(bounds[0], 0), max(bounds[1], bounds[0]))
