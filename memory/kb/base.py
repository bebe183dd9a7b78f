"""The knowledge base in one object: what the command line, the chat and recall use.

Everything works without an embedding model: then documents are found by words. The data folder is given by the caller;
nothing here reads the environment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from memory import ingest
from memory.chroma_index import IndexState
from memory.embed import BackgroundEmbedder, Embedder
from memory.errors import EmbeddingError, MemoryRoomError
from memory.ingest import Control, Outcome
from memory.ingest.watch import watched
from memory.kb.changes import KnowledgeChanges
from memory.kb.values import Found, KnowledgeSettings, KnowledgeStatus
from memory.recall.engine import Recaller
from memory.recall.values import KINDS
from memory.store import Chunk, Document, Placement, Store

_CLOSE_SECONDS = 5.0
"""What a batch of passages takes on a slow machine."""


class KnowledgeBase(KnowledgeChanges):
    """Documents of a person, found by words and by meaning; takes the arguments of ``KnowledgeChanges``."""

    def __init__(
        self,
        folder: Path,
        settings: KnowledgeSettings | None = None,
        *,
        embedder: BackgroundEmbedder | None = None,
        store: Store | None = None,
        read_only: bool = False,
    ) -> None:
        super().__init__(folder, settings, embedder=embedder, store=store, read_only=read_only)
        self._owns_store = store is None
        self._background: threading.Thread | None = None
        self._stop = threading.Event()

    # Searching and reading -------------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        limit: int = 10,
        kinds: Sequence[str] | None = None,
        *,
        wait: bool = True,
        meaning: bool = True,
    ) -> tuple[list[Found], str]:
        """Search as recall does, but whatever is found is shown: the person judges what is relevant.

        Args:
            query: Any language.
            limit: How many chunks; nearly the same text is shown once.
            kinds: Kinds of documents; all for None. Only such documents are named as sources.
            wait: Whether to wait for the embedding model; otherwise words alone answer until it is ready.
            meaning: Whether to search by meaning at all.

        Returns:
            Chunks, best first, and a note for the person where search went by words only. A text that a private
            document holds as well names only the open ones.
        """
        wanted = frozenset(KINDS if kinds is None else kinds)
        embedder, note = self._embedder_to_ask(wait) if meaning else (None, "")
        recaller = Recaller(self.store, (lambda: embedder) if embedder is not None else None)
        try:
            ranked, notices = recaller.search(query, limit, kinds=wanted)
        finally:
            recaller.close()
        scores = {one.chunk_id: one.scores for one in ranked}
        shown = (_shown(chunk, wanted) for chunk in self.store.chunks(list(scores)))
        return [Found(chunk, scores[chunk.id]) for chunk in shown if chunk.sources], note or " ".join(notices)

    def documents(self) -> list[Document]:
        """Return the files and pages of the knowledge base."""
        return self.store.documents(["file", "url"])

    def show(self, target: str) -> tuple[Document, list[tuple[Placement, Chunk]]] | None:
        """Return a document named by path or web address with its chunks in order. Raises IngestError: it is empty."""
        ingest.refuse_empty([target])
        names = [("file", ingest.uri_of(ingest.place_of(target)))]
        if target.isprintable():  # an address or a document's name has no bytes that are not text
            names = [("url", target), ("file", target), *names]
        for kind, uri in names:
            document = self.store.document(kind, uri)
            if document is not None:
                return document, self.store.document_chunks(document.id)
        return None

    def status(self) -> KnowledgeStatus:
        """Return counts and states."""
        notes = []
        model, pending = "", 0
        try:
            model = self.model
            pending = self.store.count_pending(model) if model else 0
        except EmbeddingError as error:
            notes.append(str(error))
        return KnowledgeStatus(
            store=self.store.stats(),
            model=model,
            pending=pending,
            roots=[str(root) for root in ingest.roots(self.store)],
            index=self._index.state,
            folder=str(self.folder),
            notes=notes,
        )

    def watch(self, control: Control) -> Iterator[Outcome]:
        """Follow the added folders until cancelled; gives an outcome whenever something changed there.

        What cannot be read is named once, not with every outcome.
        """
        first = self.refresh((), control, unattended=True)
        said = set(first.failed)
        yield first
        notes: list[str] = []
        for targets in watched(self.store, control.cancelled, notes.append):
            outcome = self.refresh(targets, control, unattended=True)
            trouble = set(outcome.failed)
            outcome.failed = [one for one in outcome.failed if one not in said]
            inside = tuple(target.rstrip("/") + "/" for target in targets)
            said = {one for one in said if one[0] not in targets and not one[0].startswith(inside)} | trouble
            if notes:
                outcome.note = "; ".join([*notes, outcome.note] if outcome.note else notes)
            if outcome.added or outcome.updated or outcome.removed or outcome.failed or notes:
                yield outcome
            notes.clear()

    # Background ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the embedding model, embed what is pending and open the chromadb index, all in the background."""
        if self._background is None and self.settings.model != "none":
            self._background = threading.Thread(target=self._prepare, name="kb-background", daemon=True)
            self._background.start()

    def close(self) -> None:
        """Stop background work and close the store; within seconds, whatever the background is at.

        The loading of the embedding model is left alone, for nothing of it touches the store; a batch that is being
        embedded may end, a statement that takes longer is interrupted.
        """
        self._stop.set()
        if self._background is not None:
            self._background.join(_CLOSE_SECONDS)
            if self._background.is_alive() and self._owns_store:
                self.store.database.interrupt()
        self._index.close()
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> KnowledgeBase:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _prepare(self) -> None:
        try:
            self.store.warm()
            self.embedder.wait(cancelled=self._stop.is_set)
            if not self.store.database.read_only:
                self.embed(Control(cancelled=self._stop.is_set))
            self.store.warm(self.model)
            self.open_index()
        except MemoryRoomError:
            return  # the state is kept where it can be asked for: embedder.error, index.state

    def open_index(self) -> IndexState:
        """Open the chromadb index and bring it up to date; search goes on exactly meanwhile."""
        return self._index.open(self._stop.is_set)

    def _embedder_to_ask(self, wait: bool) -> tuple[Embedder | None, str]:
        """The embedding model, or why there is none to ask."""
        if self.settings.model == "none":
            return None, "no embedding model is set; found by words"
        if not self.store.count_vectors(self.model):
            return None, "nothing is embedded yet; found by words"
        try:
            ready: Embedder | None = self.embedder.wait() if wait else self.embedder.get()
        except EmbeddingError as error:
            return None, f"found by words: {error}"
        return ready, "" if ready is not None else "the embedding model is still being loaded; found by words"


def _shown(chunk: Chunk, kinds: frozenset[str]) -> Chunk:
    """The chunk with the sources a search may name: a text is stored once, and private documents may hold it too."""
    open_ones = (one for one in chunk.sources if one.document.kind in kinds and not one.document.private)
    return replace(chunk, sources=tuple(open_ones))
