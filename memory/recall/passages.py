"""Passages from chunks: source, span, neighbours joined, packed into a budget of tokens, rendered as quotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from memory.notes.budget import estimate_tokens
from memory.recall.rank import Ranked
from memory.recall.values import Passage, Scores
from memory.safety import as_quotation, one_line, quotable
from memory.store import Chunk, Placement, Source, Store

LABEL_TOKENS = 12  # what "[1] (title)" takes beside the text
SHORT = 320  # characters; a hit shorter than this is given its neighbours where the budget allows
HEADER = "Passages:"
READ_AT_ONCE = 8  # candidates whose texts are read with one query
PASSED_OVER = 6  # candidates one after the other that do not fit: then what is left of the budget is too little

Count = Callable[[str], int]


@dataclass(slots=True)
class _Draft:
    """A passage in the making: a run of neighbouring chunks of one document."""

    source: Source
    parts: list[tuple[Placement, str]]
    scores: Scores
    also: tuple[str, ...]
    hits: tuple[int, ...]

    @property
    def first(self) -> Placement:
        return self.parts[0][0]

    @property
    def last(self) -> Placement:
        return self.parts[-1][0]

    def text(self) -> str:
        joined = self.parts[0][1]
        for (before, _), (placement, text) in zip(self.parts, self.parts[1:], strict=False):
            overlap = before.char_end - placement.char_start
            joined += text[overlap:] if 0 < overlap < len(text) else ("\n" if overlap <= 0 else "") + text
        return joined


def build(
    taken: Iterable[Ranked],
    store: Store,
    kinds: frozenset[str],
    budget_tokens: int,
    limit: int,
    count: Count = estimate_tokens,
    join: bool = True,
    hidden: frozenset[str] = frozenset(),
) -> list[Passage]:
    """Turn chosen candidates into numbered passages that fit the budget.

    A passage that does not fit is passed over for a shorter one among the next few; nothing is cut.

    Args:
        taken: candidates in the order of taking.
        store: where their texts and sources are.
        kinds: kinds of sources that may be quoted.
        budget_tokens: for all passages and their labels together.
        limit: most passages.
        count: counts tokens.
        join: whether neighbours are joined; measurements of the order switch it off.
        hidden: documents, by uri, that are not quoted.

    Returns:
        Passages, best first.
    """
    drafts: list[_Draft] = []
    left, missed = budget_tokens, 0
    for draft in _drafts(store, taken, kinds, hidden):
        if len(drafts) >= limit or left <= LABEL_TOKENS or missed >= PASSED_OVER:
            break
        beside = _beside(drafts, draft) if join else None
        cost = count(as_quotation(draft.text())) + (0 if beside else LABEL_TOKENS)
        if cost > left:
            missed += 1
            continue
        left, missed = left - cost, 0
        if beside:
            _merge(beside, draft)
        else:
            drafts.append(draft)
    if join:
        for draft in drafts:
            left -= _widen(store, draft, drafts, left, count)
    return [_passage(number, draft) for number, draft in enumerate(drafts, 1)]


def numbered(passages: Sequence[Passage]) -> str:
    """The quotations as they stand in a prompt, in the form the built-in model is trained on.

    Returns:
        ``Passages:`` and one labelled quotation a passage; empty for no passages. Every line after a quotation's first
        is indented by a space, so that none can pose as a label.
    """
    if not passages:
        return ""
    lines = [f"[{passage.number}] ({_title(passage)}) {_indented(passage.text)}" for passage in passages]
    return "\n".join([HEADER, *lines])


def _title(passage: Passage) -> str:
    return one_line(passage.title).replace("(", "‹").replace(")", "›") or "untitled"


def _indented(text: str) -> str:
    return "\n ".join(line.rstrip() for line in as_quotation(text).split("\n"))


def _drafts(store: Store, taken: Iterable[Ranked], kinds: frozenset[str], hidden: frozenset[str]) -> Iterator[_Draft]:
    """Each candidate as a passage, read in blocks; those removed since the search are passed over."""
    candidates = iter(taken)
    while block := list(islice(candidates, READ_AT_ONCE)):
        chunks = {chunk.id: chunk for chunk in store.chunks([ranked.chunk_id for ranked in block])}
        for ranked in block:
            chunk = chunks.get(ranked.chunk_id)
            draft = _draft(chunk, ranked, kinds, hidden) if chunk else None
            if draft is not None:
                yield draft


def _draft(chunk: Chunk, ranked: Ranked, kinds: frozenset[str], hidden: frozenset[str]) -> _Draft | None:
    open_sources = [
        source
        for source in chunk.sources
        if source.document.kind in kinds and not source.document.private and source.document.uri not in hidden
    ]
    if not open_sources:
        return None
    # Of several places the person's own note is named first, then the newest document.
    source = min(open_sources, key=lambda one: (one.document.kind != "note", -one.document.updated_at))
    also = tuple(
        dict.fromkeys(
            one_line(other.document.title or other.document.uri)
            for other in open_sources
            if other.document.id != source.document.id
        )
    )
    return _Draft(source, [(source.placement, chunk.text)], ranked.scores, also, (ranked.chunk_id,))


def _beside(drafts: Sequence[_Draft], draft: _Draft) -> _Draft | None:
    """The passage this chunk stands directly before or after."""
    for other in drafts:
        if other.source.document.id != draft.source.document.id:
            continue
        if draft.first.ordinal in {other.first.ordinal - 1, other.last.ordinal + 1}:
            return other
    return None


def _merge(into: _Draft, draft: _Draft) -> None:
    into.parts = sorted(into.parts + draft.parts, key=lambda part: part[0].ordinal)
    into.hits += draft.hits


def _widen(store: Store, draft: _Draft, drafts: Sequence[_Draft], left: int, count: Count) -> int:
    """Give a short hit the chunks around it, as far as tokens are left; returns what that took."""
    if len(draft.text()) >= SHORT or left <= 0:
        return 0
    taken = {(other.source.document.id, part[0].ordinal) for other in drafts for part in other.parts}
    spent = 0
    for placement, chunk in _around(store, draft):
        cost = count(as_quotation(chunk.text))
        key = (draft.source.document.id, placement.ordinal)
        if key in taken or cost > left - spent or len(draft.text()) + len(chunk.text) > 2 * SHORT:
            continue
        draft.parts = sorted([*draft.parts, (placement, chunk.text)], key=lambda part: part[0].ordinal)
        spent += cost
    return spent


def _around(store: Store, draft: _Draft) -> list[tuple[Placement, Chunk]]:
    """The chunks directly before and after; an answer needs its question more than what follows it."""
    ordinals = (draft.first.ordinal - 1, draft.last.ordinal + 1)
    found = {placement.ordinal: (placement, chunk) for placement, chunk in store.neighbours(draft.first, 1)}
    if draft.last != draft.first:
        found |= {placement.ordinal: (placement, chunk) for placement, chunk in store.neighbours(draft.last, 1)}
    return [found[ordinal] for ordinal in ordinals if ordinal in found]


def _passage(number: int, draft: _Draft) -> Passage:
    document, raw = draft.source.document, draft.text()
    return Passage(
        number=number,
        kind=document.kind,
        title=one_line(document.title or document.uri.rsplit("/", 1)[-1]),
        uri=document.uri,
        text=as_quotation(raw),
        start=draft.first.char_start,
        end=draft.last.char_end,
        line=draft.first.line_start,
        page=draft.first.page_start,
        heading=tuple(one_line(part) for part in draft.source.placement.heading),
        scores=draft.scores,
        why=_why(draft),
        chunk_ids=tuple(dict.fromkeys((*draft.hits, *(part[0].chunk_id for part in draft.parts)))),
        also=draft.also,
        root=document.root,
        neutralised=quotable(raw).count,
    )


def _why(draft: _Draft) -> str:
    scores = draft.scores
    routes = []
    if scores.words is not None:
        routes.append("its words")
    elif scores.around > 0:
        routes.append("words next to it")
    if scores.meaning is not None and scores.meaning >= 0.25:
        routes.append("its meaning")
    reason = " and ".join(routes) or "its place"
    more = f", {len(draft.hits)} neighbouring hits joined" if len(draft.hits) > 1 else ""
    copies = f", also in {len(draft.also)} more" if draft.also else ""
    return f"found by {reason} ({scores.relevance:.0%} likely to matter{more}{copies})"


def renumbered(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """The same passages numbered from 1, after the person switched some off."""
    return tuple(replace(passage, number=number) for number, passage in enumerate(passages, 1))
