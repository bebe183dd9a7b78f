"""Every change to a knowledge base: one process at a time, and embedded as far as a model can be had.

Without an embedding model everything is stored all the same and found by words; its vectors follow when there is one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from memory import ingest
from memory.chroma_index import IndexState
from memory.embed import BackgroundEmbedder, SentenceEmbedder, identity
from memory.errors import EmbeddingError
from memory.ingest import Control, Outcome
from memory.ingest.lock import writer_lock
from memory.ingest.progress import counted
from memory.kb.index import DerivedIndex
from memory.kb.values import KnowledgeSettings, Waiting
from memory.store import Store
from memory.store.database import translated
from memory.store.verify import Verification, reindex_words, verify


class KnowledgeChanges:
    """The changing side of a knowledge base.

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
        self.embedder = embedder or BackgroundEmbedder(lambda: SentenceEmbedder(self.settings.model))
        self._given = embedder is not None
        self._index = DerivedIndex(self.store, self.settings.index, lambda: self.model)

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
        unattended: bool = False,
        embed: bool = True,
        waiting: Waiting | None = None,
    ) -> Outcome:
        """Bring what was added up to date with the disk; see ``memory.ingest.operations.refresh``."""
        how = control or Control()
        with self._writing("kb refresh", how, waiting):
            outcome = ingest.refresh(self.store, targets, how, pages=pages, unattended=unattended)
            return self._finish(outcome, how, embed)

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

    # Inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, purpose: str, control: Control, waiting: Waiting | None) -> Iterator[None]:
        patience = waiting or Waiting()
        lock = writer_lock(
            self.folder,
            purpose,
            wait_seconds=patience.seconds,
            on_wait=patience.told,
            cancelled=control.cancelled,
        )
        with lock, translated(self.store.database.path):
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
