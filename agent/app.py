"""The whole program without a screen: settings, folders, store, engine, memory. Every command opens one ``Fovea``."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from agent import ladder as ladders
from agent import paths
from agent.desk import Desk, State
from agent.oversight import Overseer
from agent.paths import Folders
from agent.policy.lazy import LazyOverseer
from agent.recall import Memory
from agent.session import Session
from agent.settings import Settings
from agent.shelf import Found
from agent.text import new_session_id
from agent.tree import Tree
from agent.values import PickStats, SessionInfo
from backends.engine import Engine
from backends.types import LadderSpec, LadderStatus


class Fovea:
    """One per process. Use as a context manager, or call ``close``."""

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        tree: Tree,
        engine: Engine,
        memory: Memory,
        overseer: Overseer,
        spec: LadderSpec | None = None,
    ) -> None:
        self.settings = settings
        self.folders = folders
        self.tree = tree
        self.engine = engine
        self.memory = memory
        self.overseer = overseer
        self.progress: ladders.Progress | None = None
        """Told of tiers that are being made while the ladder loads."""
        self._spec = spec
        self._status: LadderStatus | None = None
        self._loading = threading.Lock()
        self._desk = Desk(
            settings=settings,
            model=ladders.model_name(settings),
            tree=tree,
            engine=engine,
            memory=memory,
            overseer=overseer,
            ladder=self.ladder,
            loaded=lambda: self._status,
        )

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        engine: Engine | None = None,
        memory: Memory | None = None,
        overseer: Overseer | None = None,
        folders: Folders | None = None,
        unsaved: bool = False,
    ) -> Fovea:
        """Open the folders and the conversation file; no model is loaded yet.

        Args:
            settings: From ``agent.settings_file.load``, with flags applied.
            engine: ``None``: the engine host. A given engine is loaded with an empty ladder: it brings its own.
            memory: ``None``: the memory room as the settings say.
            overseer: ``None``: the policy of the settings.
            folders: ``None``: those of the environment and the settings.
            unsaved: Keep the conversation in memory only (used when another fovea is the writer).

        Raises:
            StorageError: The data folder or the conversation file cannot be used.
        """
        folders = folders or paths.find(settings.folders.data, settings.folders.cache)
        tree = Tree.in_memory() if unsaved else Tree.open(folders.conversations, folders.writer_lock)
        try:
            return cls(
                settings,
                folders,
                tree,
                engine if engine is not None else _engine(settings, folders, tree),
                memory if memory is not None else _memory(settings, folders, tree),
                overseer if overseer is not None else _overseer(settings, folders),
                LadderSpec(()) if engine is not None else None,
            )
        except BaseException:
            tree.close()
            raise

    @property
    def read_only(self) -> bool:
        """Whether another process is the writer, or the folder cannot be written."""
        return self.tree.read_only

    @property
    def why_read_only(self) -> str:
        """Why nothing can be saved; empty when it can."""
        return self.tree.why_read_only

    def sessions(self, query: str = "", archived: bool = False) -> list[SessionInfo]:
        """Conversations, the latest first; with a query those that hold all its words."""
        return self.tree.shelf.sessions(query, archived=archived)

    def search(self, query: str) -> list[Found]:
        """Messages of all conversations that hold all words of the query."""
        return self.tree.shelf.search(query)

    def session(self, id: str | None = None) -> Session:
        """A conversation by its id (or the start of one, or ``last``), or a new one. Raises NotFoundError."""
        policy = self.settings.policy
        if id is None:
            return Session(self._desk, State(new_session_id(), policy))
        found = self.tree.shelf.find_session(id)
        return Session(self._desk, State(found, policy, head=self.tree.shelf.head(found)))

    def pick_stats(self, tier: str) -> PickStats:
        """How often the person preferred ``tier`` in blind picks."""
        return self.tree.ledger.pick_stats(tier)

    def ladder(self) -> LadderStatus:
        """The loaded ladder; loads it first when needed (blocking, from any thread).

        Raises:
            BackendError: No tier can be loaded; the text says why.
        """
        with self._loading:
            if self._status is None:
                spec = self._spec or ladders.build(self.settings, self.folders, self.progress)
                self._status = self.engine.load(spec)
            return self._status

    def close(self) -> None:
        """End the engine host, commit what is left, give the writer lock back."""
        try:
            self.engine.close()
        finally:
            self.memory.close()
            self.tree.close()

    def __enter__(self) -> Fovea:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _engine(settings: Settings, folders: Folders, tree: Tree) -> Engine:
    if not ladders.has_remote(settings):
        return _host(folders, tree)
    from backends.remote.engine import MixedEngine

    return MixedEngine(_host(folders, tree))


def _host(folders: Folders, tree: Tree) -> Engine:
    from backends.host import EngineHost

    if tree.read_only or not folders.data.is_dir():
        return EngineHost()
    return EngineHost(folders.data / "engine.log")


def _memory(settings: Settings, folders: Folders, tree: Tree) -> Memory:
    from agent.local_memory import LocalMemory

    memory = settings.memory
    return LocalMemory(
        folders.data,
        model=memory.embedding_model,
        index=memory.vector_index,
        notes_tokens=memory.notes_tokens,
        read_only=tree.read_only,
    )


def _overseer(settings: Settings, folders: Folders) -> Overseer:
    chosen = settings.policy.calibration
    return LazyOverseer(Path(chosen).expanduser() if chosen else None, folders.cache)
