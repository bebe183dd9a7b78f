"""The knowledge base in one object: what the command line, the chat and recall use.

Everything works without an embedding model: then documents are found by words. The data folder is given by the caller;
nothing here reads the environment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from memory import ingest
from memory.chroma_index import IndexState
from memory.embed import BackgroundEmbedder, Embedder, SentenceEmbedder, identity
from memory.errors import EmbeddingError, MemoryRoomError
from memory.ingest import Control, Outcome
from memory.ingest.lock import writer_lock
from memory.ingest.progress import counted
from memory.ingest.watch import watched
from memory.kb_index import DerivedIndex
from memory.kb_values import Found, KnowledgeSettings, KnowledgeStatus, Waiting
from memory.recall.engine import Recaller
from memory.recall.values import KINDS
from memory.store import Chunk, Document, Placement, Store
from memory.store.verify import Verification, reindex_words, verify

__all__ = ["Found", "KnowledgeBase", "KnowledgeSettings", "KnowledgeStatus", "Waiting"]


class KnowledgeBase:
    """Documents of a person, found by words and by meaning.

    Args:
        folder: The data folder.
        settings: Model and index.
        embedder: Where embeddings come from; by default the model of the settings, loaded when first needed.
        store: An open store to share; otherwise one is opened in ``folder`` and closed with this object.
        read_only: Refuse every change.
    """

    def __init__(
        self,
        folder: Path,
        settings: KnowledgeSettings | None = None,
        *,
        embedder: BackgroundEmbedder | None = None,
        store: Store | None = None,
        read_only: bool = False,
    ) -> None:
        self.settings = settings or KnowledgeSettings()
        self.store = store or Store(folder, read_only=read_only)
        self._owns_store = store is None
        self.embedder = embedder or BackgroundEmbedder(lambda: SentenceEmbedder(self.settings.model))
        self._given = embedder is not None
        self._index = DerivedIndex(self.store, self.settings.index, lambda: self.model)
        self._background: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.store.folder

    @property
    def model(self) -> str:
        """Name under which the current model's vectors are stored; empty where there is no model."""
        if self.settings.model == "none":
            return ""
        if self._given:
            ready = self.embedder.get()
            return ready.name if ready is not None else self.embedder.wait().name
        return identity(self.settings.model)

    # Changing --------------------------------------------------------------------------------------------------

    def add(
        self,
        sources: Sequence[str],
        control: Control | None = None,
        *,
        private: bool = False,
        embed: bool = True,
        waiting: Waiting | None = None,
    ) -> Outcome:
        """Add files, folders, globs and web pages; see ``memory.ingest.operations.add``."""
        how = control or Control()
        with self._writing("kb add", how, waiting):
            outcome = ingest.add(self.store, sources, how, private=private)
            return self._finish(outcome, how, embed)

    def refresh(
        self,
        targets: Sequence[str] = (),
        control: Control | None = None,
        *,
        pages: bool = False,
        embed: bool = True,
        waiting: Waiting | None = None,
    ) -> Outcome:
        """Bring what was added up to date with the disk."""
        how = control or Control()
        with self._writing("kb refresh", how, waiting):
            return self._finish(ingest.refresh(self.store, targets, how, pages=pages), how, embed)

    def remove(self, targets: Sequence[str], *, waiting: Waiting | None = None) -> Outcome:
        """Remove documents with everything only they held."""
        with self._writing("kb rm", Control(), waiting):
            outcome = ingest.remove(self.store, targets)
            self.store.database.checkpoint()
            return outcome

    def rebuild(
        self,
        control: Control | None = None,
        *,
        vectors: bool = False,
        waiting: Waiting | None = None,
    ) -> IndexState:
        """Make the derived parts anew: the word index from the chunks, the chromadb index from the stored vectors.

        Args:
            control: Progress and cancelling.
            vectors: Also embed every chunk again.
            waiting: Towards another process.
        """
        how = control or Control()
        with self._writing("kb rebuild", how, waiting):
            reindex_words(self.store.database, counted("indexing words", how.report))
            if vectors and self.model:
                self.store.drop_vectors(self.model)
            if self.model and (vectors or self.store.count_pending(self.model)):
                ingest.embed_pending(self.store, self.embedder.wait(), report=how.report, cancelled=how.cancelled)
            self.store.database.checkpoint()
        return self._index.rebuild(counted("indexing vectors", how.report))

    def verify(self, *, repair: bool = True, read_data: bool = True, waiting: Waiting | None = None) -> Verification:
        """Check the store against itself and repair what can be derived again."""
        with self._writing("kb verify", Control(), waiting):
            return verify(self.store.database, repair=repair, read_data=read_data)

    def embed(self, control: Control | None = None, *, waiting: Waiting | None = None) -> int:
        """Embed what has no vector yet; return how many chunks were embedded."""
        how = control or Control()
        with self._writing("embedding", how, waiting):
            return self._embed(how)

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
            kinds: Kinds of documents; all for None.
            wait: Whether to wait for the embedding model; otherwise words alone answer until it is ready.
            meaning: Whether to search by meaning at all.

        Returns:
            Chunks, best first, and a note for the person where search went by words only.
        """
        embedder, note = self._embedder_to_ask(wait) if meaning else (None, "")
        recaller = Recaller(self.store, (lambda: embedder) if embedder is not None else None)
        try:
            ranked, notices = recaller.search(query, limit, kinds=KINDS if kinds is None else kinds)
        finally:
            recaller.close()
        scores = {one.chunk_id: one.scores for one in ranked}
        found = [Found(chunk, scores[chunk.id]) for chunk in self.store.chunks(list(scores))]
        return found, note or " ".join(notices)

    def documents(self) -> list[Document]:
        """Return the files and pages of the knowledge base."""
        return self.store.documents(["file", "url"])

    def show(self, target: str) -> tuple[Document, list[tuple[Placement, Chunk]]] | None:
        """Return a document named by path or web address with its chunks in order. Raises IngestError: it is empty."""
        ingest.refuse_empty([target])
        names = [("url", target), ("file", target), ("file", ingest.uri_of(Path(target).expanduser().resolve()))]
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
        """Follow the added folders until cancelled; gives an outcome whenever something changed there."""
        yield self.refresh((), control)
        for targets in watched(self.store, control.cancelled):
            outcome = self.refresh(targets, control)
            if outcome.added or outcome.updated or outcome.removed:
                yield outcome

    # Background ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the embedding model, embed what is pending and open the chromadb index, all in the background."""
        if self._background is None and self.settings.model != "none":
            self._background = threading.Thread(target=self._prepare, name="kb-background", daemon=True)
            self._background.start()

    def close(self) -> None:
        """Stop background work and close the store."""
        self._stop.set()
        if self._background is not None:
            self._background.join(timeout=30)
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
            self.embedder.wait()
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

    @contextmanager
    def _writing(self, purpose: str, control: Control, waiting: Waiting | None) -> Iterator[None]:
        patience = waiting or Waiting()
        with writer_lock(
            self.folder,
            purpose,
            wait_seconds=patience.seconds,
            on_wait=patience.told,
            cancelled=control.cancelled,
        ):
            yield

    def _finish(self, outcome: Outcome, control: Control, embed: bool) -> Outcome:
        began = time.monotonic()
        if embed and self.settings.model != "none" and not control.cancelled():
            try:
                outcome.embedded = self._embed(control)
            except EmbeddingError as error:
                outcome.note = str(error)
        outcome.cancelled = outcome.cancelled or control.cancelled()
        if self.settings.model != "none":
            try:
                outcome.pending = self.store.count_pending(self.model)
            except EmbeddingError as error:
                outcome.note = str(error)
        self.store.database.checkpoint()
        outcome.seconds += time.monotonic() - began
        return outcome

    def _embed(self, control: Control) -> int:
        """Embed what is pending; the model is loaded only where there is something to embed."""
        if self.settings.model == "none" or not self.store.count_pending(self.model):
            return 0
        done = ingest.embed_pending(
            self.store, self.embedder.wait(), report=control.report, cancelled=control.cancelled
        )
        if not self.store.count_pending(self.model):
            self.store.drop_models(keep=self.model)
        return done
