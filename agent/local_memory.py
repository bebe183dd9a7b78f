"""The agent's memory port over the memory room: notes, past conversations and the knowledge base of the data folder.

Nothing is opened before it is needed, and nothing heavy is loaded where there is nothing to find. The search goes by
words until ``start`` has loaded the embedding model in the background, which long-lived programs do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.conversations import PastConversations
from agent.recall import Around, NoteProposal
from agent.remembering import Remembering
from agent.values import CONVERSATION, Passage
from memory.errors import MemoryRoomError, NoteBudgetError, StoreBusyError

if TYPE_CHECKING:
    from memory.kb import KnowledgeBase
    from memory.notes import NotesFolder, Proposal
    from memory.recall.engine import Recaller
    from memory.recall.values import Passage as Found
    from memory.store import Store

NOTES = "notes"
START_AFTER_S = 2.0
"""The embedding library takes seconds to import; the first screen comes first."""
FINISH_S = 5.0
"""Closing waits so long for conversations that are still to be remembered or forgotten."""


class LocalMemory:
    """Recall over one data folder. All methods may be called from any thread.

    Args:
        data: the folder.
        model: the embedding model, ``none`` for words alone.
        index: how vectors are searched.
        notes_tokens: most tokens of standing notes.
        read_only: nothing may be written, because another process is the writer.
        past: where past conversations come from; ``None``: none are recalled, and nothing is known of them.
        conversations: False: none are recalled, and what is stored of them is forgotten.
    """

    def __init__(
        self,
        data: Path,
        *,
        model: str,
        index: str,
        notes_tokens: int,
        read_only: bool = False,
        past: PastConversations | None = None,
        conversations: bool = True,
    ) -> None:
        self._data = data
        self._model = model
        self._index = index
        self._read_only = read_only
        self._notes_tokens = notes_tokens
        self._opening = threading.Lock()
        self._base: KnowledgeBase | None = None
        self._words: Recaller | None = None
        self._meaning: Recaller | None = None
        self._by_meaning = False
        self._timer: threading.Timer | None = None
        self._waiting: list[str] = []
        self._told: set[str] = set()
        self._closed = False
        self._past = past if conversations else None
        self._remembering: Remembering | None = None
        if past is not None and not read_only:
            self._remembering = Remembering(self._past, self._store, self._has_store, self._embed_new)

    def start(self) -> None:
        """Load the embedding model soon, in the background, where there is something it could find."""
        if self._timer is None and (self._has_store() or (self._past is not None and self._past.any())):
            self._timer = threading.Timer(START_AFTER_S, self._start_now)
            self._timer.daemon = True
            self._timer.start()

    def ready(self) -> None:
        """Open the store, so that the first recall need not; what is wrong with it is said there."""
        if self._has_store() or self._has_notes():
            with contextlib.suppress(MemoryRoomError):
                self._recaller()

    def recall(
        self, query: str, history: Sequence[str], budget_tokens: int, deadline_s: float, session: str = ""
    ) -> tuple[list[Passage], list[str]]:
        """Passages for a message, best first, and lines for the person. Never raises for a store in trouble."""
        if not self._has_store() and not self._has_notes():
            return [], self._lines([])
        from memory.recall.engine import ALWAYS_SHOWN
        from memory.recall.values import KINDS

        try:
            recaller = self._recaller()
            found = recaller.recall(
                query,
                budget_tokens,
                previous=history,
                deadline_s=deadline_s,
                kinds=KINDS if self._past is not None else frozenset(KINDS) - {CONVERSATION},
                hidden=ALWAYS_SHOWN | self._barred(recaller.store, session, query),
            )
        except MemoryRoomError as error:
            return [], self._lines([f"Nothing was recalled: {error}"])
        return [_passage(one) for one in found.passages], self._lines(found.notices)

    def around(self, passage: Passage) -> Around | None:
        """What stands around a passage in its document, as it is now; ``None`` where it is there no more."""
        from memory.recall.surroundings import surroundings

        if not passage.kind or not self._has_store():
            return None
        found = surroundings(self._recaller().store, passage.kind, passage.uri, passage.start, passage.end)
        return None if found is None else Around(found.text, found.start, found.end)

    def standing_notes(self, budget_tokens: int) -> str:
        """MEMORY.md whole, or nothing (said with the next recall) when it does not fit or cannot be read."""
        try:
            return self.notes().memory().text
        except NoteBudgetError as error:
            self._problem(f"Your notes are left out: {error}")
        except MemoryRoomError as error:
            self._problem(f"Your notes cannot be read: {error}")
        return ""

    def propose_note(self, text: str) -> NoteProposal | None:
        """How the notes would change to hold ``text``; ``None`` when they say so already."""
        from memory.notes import propose

        proposal = propose(self.notes(), text)
        return NoteProposal(proposal.file, proposal.diff, proposal) if proposal.needed else None

    def accept_note(self, proposal: NoteProposal) -> str:
        """Write an approved proposal; returns the name of the file."""
        from memory.notes import Proposal, apply, propose

        change = proposal.token
        wanted: Proposal = change if isinstance(change, Proposal) else propose(self.notes(), proposal.diff)
        return apply(self.notes(), wanted).name

    def conversation_changed(self, session: str) -> None:
        """A conversation was written in, renamed, deleted, brought back or marked private; returns at once."""
        if self._remembering is not None:
            self._remembering.changed(session)

    def notes(self) -> NotesFolder:
        """The folder of notes."""
        from memory.notes import NotesFolder

        return NotesFolder(self._data / NOTES, memory_budget=self._notes_tokens)

    def close(self) -> None:
        """End background work and close the store."""
        if self._timer is not None:
            self._timer.cancel()
        if self._remembering is not None:
            self._remembering.close(FINISH_S)
        self._closed = True
        with self._opening:
            for recaller in (self._words, self._meaning):
                if recaller is not None:
                    recaller.close()
            if self._base is not None:
                self._base.close()
            self._base = self._words = self._meaning = None

    # Inside -----------------------------------------------------------------------------------------------------

    def _has_store(self) -> bool:
        return (self._data / "memory.db").exists()

    def _has_notes(self) -> bool:
        folder = self._data / NOTES
        return folder.is_dir() and next(folder.rglob("*.md"), None) is not None

    def _barred(self, store: Store, session: str, query: str) -> frozenset[str]:
        """Stored conversations that must not be recalled now: the one that is asked in, and what is private or gone.

        The memory follows the tree a moment later; what a person marked private holds from that very moment. A
        conversation that began with the same message would match best of all and tell nothing but what was answered
        then: asking again would quote the model to itself, and the same seed would not give the same text.
        """
        if self._past is None:
            return frozenset()
        from memory.recall.conversations import stored_conversations

        return (
            frozenset(stored_conversations(store).keys() - self._past.known().keys())
            | self._past.begun_with(query)
            | {session}
        )

    def _store(self) -> Store:
        with self._opening:
            return self._open_base().store

    def _open_base(self) -> KnowledgeBase:
        if self._closed:
            raise MemoryRoomError("fovea is being closed")
        if self._base is None:
            self._base, self._words, self._meaning = self._opened()
        return self._base

    def _recaller(self) -> Recaller:
        """The recaller to use now; opens the store and takes in edited notes."""
        from memory.notes.index import sync

        with self._opening:
            self._base = self._open_base()
            if self._has_notes() and not self._read_only:
                sync(self.notes(), self._base.store)
            chosen = self._meaning if self._by_meaning else self._words
        if chosen is None:
            raise MemoryRoomError("the store is not open")
        return chosen

    def _opened(self) -> tuple[KnowledgeBase, Recaller, Recaller]:
        from memory.kb import KnowledgeBase, KnowledgeSettings
        from memory.recall.engine import Recaller

        settings = KnowledgeSettings(model=self._model, index=self._index)
        base = KnowledgeBase(self._data, settings, read_only=self._read_only)
        return base, Recaller(base.store), Recaller(base.store, base.embedder.get)

    def _start_now(self) -> None:
        if self._remembering is not None:
            self._remembering.everything()
        try:
            if not self._has_store() and not self._has_notes():
                return
            self._recaller()
            if self._base is not None and self._model != "none" and _worth_a_model(self._base):
                self._base.start()
                self._by_meaning = True
        except MemoryRoomError as error:
            self._problem(f"Search by meaning is off: {error}")

    def _embed_new(self) -> None:
        """Give new turns their vectors, where the model is loaded anyway and nobody else changes the store."""
        from memory.kb import Waiting

        base = self._base
        if base is not None and self._by_meaning and base.embedder.get() is not None:
            with contextlib.suppress(StoreBusyError):
                base.embed(waiting=Waiting(0))

    def _problem(self, line: str) -> None:
        self._waiting.append(line)

    def _lines(self, lines: Sequence[str]) -> list[str]:
        """Lines that were not said yet: the same trouble with every message is one line, not many."""
        fresh = [line for line in dict.fromkeys([*self._waiting, *lines]) if line not in self._told]
        self._waiting.clear()
        self._told.update(fresh)
        return fresh


def _worth_a_model(base: KnowledgeBase) -> bool:
    """Whether anything but past conversations is there: for those alone no half gigabyte of model is loaded."""
    return any(count for kind, count in base.store.stats().documents.items() if kind != CONVERSATION)


def _passage(one: Found) -> Passage:
    return Passage(
        number=one.number,
        source=one.title,
        uri=one.uri,
        text=one.text,
        start=one.start,
        end=one.end,
        score=one.scores.relevance,
        why=one.why,
        page=one.page,
        heading=" › ".join(one.heading),
        line=one.line,
        root=one.root,
        kind=one.kind,
    )
