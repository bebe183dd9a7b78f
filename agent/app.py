"""The whole program without a screen: settings, folders, store, engine, memory. Every command opens one ``Fovea``."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from agent import ladder as ladders
from agent import paths
from agent.desk import Desk, State
from agent.errors import TurnError
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
from backends.errors import BackendError, LoadError
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
        given: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self.folders = folders
        self.tree = tree
        self.engine = engine
        self.memory = memory
        self.overseer = overseer
        self.progress: ladders.Progress | None = None
        """Told of tiers that are being made while the ladder loads."""
        self._given = frozenset(given)
        """Parts that are not made from the settings: ``engine``, ``memory``, ``overseer``."""
        self._spec: LadderSpec | None = None
        self._status: LadderStatus | None = None
        self._loaded_from: Settings | None = None
        self._made_for = settings
        """The settings that engine and model name were made from."""
        self._loading = threading.Lock()
        self._desk = Desk(
            settings=settings,
            model=ladders.model_name(settings),
            tree=tree,
            engine=engine,
            memory=memory,
            overseer=overseer,
            ladder=self.ladder,
            loaded=lambda: self._status if self.ladder_current else None,
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
        parts = {"engine": engine, "memory": memory, "overseer": overseer}
        try:
            return cls(
                settings,
                folders,
                tree,
                engine if engine is not None else _engine(settings, folders, tree),
                memory if memory is not None else _memory(settings, folders, tree),
                overseer if overseer is not None else _overseer(settings, folders),
                [name for name, part in parts.items() if part is not None],
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

    @property
    def ladder_current(self) -> bool:
        """Whether a ladder is loaded and is still the one that the settings describe."""
        return self._loaded_from is not None and ladders.same(self._loaded_from, self.settings)

    def ladder(self) -> LadderStatus:
        """The loaded ladder; loads it first when needed (blocking, from any thread).

        Where the settings describe another ladder by now, the engine host is restarted with that one.

        Raises:
            BackendError: No tier can be loaded; the text says why.
        """
        with self._loading:
            if self._status is None or not self.ladder_current:
                self._load()
            if self._status is None:
                raise LoadError("The ladder was not loaded")
            return self._status

    def _load(self) -> None:
        settings = self.settings
        if self._status is not None or not ladders.same(self._made_for, settings):
            self._status = self._loaded_from = None
            self._renew_engine()
        given = "engine" in self._given  # it brings its own ladder
        self._spec = LadderSpec(()) if given else ladders.build(settings, self.folders, self.progress)
        # The engine loads in a process of its own: meanwhile there is time here.
        threading.Thread(target=self.memory.ready, name="memory-ready", daemon=True).start()
        self._status = self.engine.load(self._spec)
        self._loaded_from = settings

    def _renew_engine(self) -> None:
        """A new host rather than the old one with another model: its memory is surely free again."""
        if "engine" not in self._given:
            self.engine.close()
            self.engine = self._desk.engine = _engine(self.settings, self.folders, self.tree)
        self._desk.model = ladders.model_name(self.settings)
        self._made_for = self.settings

    def predicted_memory(self) -> dict[str, int]:
        """Bytes each tier of the loaded ladder is predicted to take; unknown ones are left out."""
        return ladders.predicted(self._spec, self.folders.data) if self._spec is not None else {}

    @property
    def host_memory(self) -> int:
        """Bytes the engine host takes before any model, predicted."""
        from backends.plan.fit import INTERPRETER

        return INTERPRETER

    def rest(self, tier: str, resting: bool) -> LadderStatus:
        """Free the memory of a tier, or load it again; the others stay as they are (blocking).

        Raises:
            TurnError: it is the last one that is loaded, or a server.
            BackendError: it cannot be loaded.
        """
        status = self.ladder()
        if resting and status.loaded() == [tier]:
            raise TurnError(f"{tier} is the only tier that is loaded; load another one first")
        with self._loading:
            spec = self._spec or LadderSpec(())
            if any(one.name == tier and one.backend == ladders.REMOTE for one in spec.tiers):
                raise TurnError(f"{tier} is a server: nothing of it is in memory here")
            names = [name for name in spec.resting if name != tier] + ([tier] if resting else [])
            wanted = replace(spec, resting=tuple(names))
            try:
                self._status = self.engine.load(wanted)
            except BackendError:
                # The host may have died of it; the conversation goes on with what was loaded before.
                self._status = self.engine.load(spec)
                raise
            self._spec = wanted
            return self._status

    def change(self, changes: Mapping[str, Any]) -> None:
        """Go on with other settings, by dotted key; nothing is written to the file.

        Most count at once, policy and budget in new conversations. What describes the ladder counts with the next
        ``ladder``, which loads it anew; folders count when the program is started again.

        Raises:
            SettingsError: A key or value is wrong; nothing was changed.
        """
        before, after = self.settings, self.settings.with_values(dict(changes))
        self.settings = self._desk.settings = after
        if after.policy.calibration != before.policy.calibration and "overseer" not in self._given:
            self.overseer = self._desk.overseer = _overseer(after, self.folders)
        if after.memory != before.memory and "memory" not in self._given:
            self.memory.close()
            self.memory = self._desk.memory = _memory(after, self.folders, self.tree)
            self.memory.start()
        if after.log_level != before.log_level:
            from agent import logs

            logs.set_level(after.log_level)

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
    from agent.conversations import PastConversations
    from agent.local_memory import LocalMemory

    memory = settings.memory
    return LocalMemory(
        folders.data,
        # A tree that is gone with the process says nothing about the conversations of the folder.
        past=PastConversations(tree) if tree.lasting else None,
        conversations=memory.conversations,
        model=memory.embedding_model,
        index=memory.vector_index,
        notes_tokens=memory.notes_tokens,
        read_only=tree.read_only,
    )


def _overseer(settings: Settings, folders: Folders) -> Overseer:
    chosen = settings.policy.calibration
    return LazyOverseer(Path(chosen).expanduser() if chosen else None, folders.cache)
