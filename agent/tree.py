"""The conversation tree: nodes with parent, text, provenance and status, kept in one SQLite file.

A node is committed before anyone is told that it is done. While a reply is written its node is ``OPEN`` and its text so
far is checkpointed (``agent.checkpoints``), so that a kill of the whole program loses little of it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from agent.database import Database
from agent.errors import NotFoundError, StorageError
from agent.ledger import Ledger
from agent.packing import (
    pack_passages,
    pack_steps,
    pack_value,
    unpack_passages,
    unpack_steps,
    unpack_timing,
    unpack_usage,
)
from agent.shelf import Shelf
from agent.text import storable, title_of
from agent.values import CONVERSATION, Node, Passage, Status
from backends.types import Step, Timing, Usage

log = logging.getLogger(__name__)

LIGHT = (
    "id, session, parent, role, text, status, author, created, model, tier, usage, timing, bookmark, deleted, "
    "NULL AS steps"
)
WHOLE = LIGHT.replace("NULL AS steps", "steps")
NODE = f"SELECT {WHOLE} FROM nodes WHERE id = ?"  # noqa: S608  # constants only
CHILDREN = f"SELECT {WHOLE} FROM nodes WHERE session = ? AND parent IS ? AND deleted = 0 ORDER BY id"  # noqa: S608
ALL = f"SELECT {LIGHT} FROM nodes WHERE session = ? ORDER BY id"  # noqa: S608
UPWARDS = (
    "WITH RECURSIVE up(at, depth) AS (SELECT ?, 0 UNION ALL "
    "SELECT parent, depth + 1 FROM nodes JOIN up ON id = at WHERE parent IS NOT NULL)"
)
PATH = UPWARDS + f" SELECT {WHOLE} FROM up JOIN nodes ON id = at ORDER BY depth DESC"  # noqa: S608
PATH_LIGHT = PATH.replace(WHOLE, LIGHT)


class Tree:
    """All conversations."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.shelf = Shelf(database)
        """The list of conversations: search, titles, heads."""
        self.ledger = Ledger(database)
        """Asks, decisions, picks and spending."""

    @classmethod
    def open(cls, path: Path, lock: Path) -> Tree:
        """Open or create the file; see ``Database.open`` for what can go wrong."""
        return cls(Database.open(path, lock))

    @classmethod
    def in_memory(cls) -> Tree:
        """A tree that is gone with the process."""
        return cls(Database.in_memory())

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._db.read_only

    @property
    def why_read_only(self) -> str:
        """Why writes are refused; empty when they are not."""
        return self._db.why_read_only

    @property
    def busy(self) -> bool:
        """Whether writes are refused because another process is the writer."""
        return self._db.busy

    @property
    def lasting(self) -> bool:
        """Whether the conversations outlive the process."""
        return self._db.lasting

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Several writes as one."""
        return self._db.transaction()

    def close(self) -> None:
        """Erase conversations that were deleted and not brought back, then close the file."""
        if not self.read_only:
            try:
                self.shelf.erase_deleted()
            except StorageError as error:
                log.warning("deleted conversations are not erased yet: %s", error)
        self._db.close()

    # Nodes ------------------------------------------------------------------------------------------------------

    def add(  # noqa: PLR0913  # the columns of a node
        self,
        session: str,
        parent: int | None,
        role: str,
        text: str,
        *,
        author: str,
        status: Status = Status.DONE,
        model: str = "",
        tier: str = "",
        steps: Sequence[Step] = (),
        created: float | None = None,
    ) -> Node:
        """Commit a new node; the conversation is created with its first node and titled by its first message."""
        now = time.time() if created is None else created
        text = storable(text)
        with self.transaction():
            self._db.write(
                "INSERT INTO sessions(id, title, created, updated) VALUES (?, ?, ?, ?) "
                "ON CONFLICT(id) DO UPDATE SET updated = max(updated, excluded.updated), "
                "title = CASE WHEN title = '' THEN excluded.title ELSE title END",
                (session, title_of(text) if role == "user" else "", now, now),
            )
            node = self._db.write(
                "INSERT INTO nodes(session, parent, role, text, status, author, created, model, tier, steps) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    session,
                    parent,
                    role,
                    text,
                    str(status),
                    author,
                    now,
                    model,
                    tier,
                    pack_steps(steps) if steps else None,
                ),
            )
        return self.node(node)

    def checkpoint(self, node: int, text: str, steps: Sequence[Step]) -> None:
        """Commit what a reply consists of so far."""
        self._db.write("UPDATE nodes SET text = ?, steps = ? WHERE id = ?", (storable(text), pack_steps(steps), node))

    def finish(
        self,
        node: int,
        text: str,
        steps: Sequence[Step],
        status: Status,
        *,
        usage: Usage | None = None,
        timing: Timing | None = None,
        high_tokens: int = 0,
        all_tokens: int = 0,
    ) -> Node:
        """Commit the end of a reply."""
        with self.transaction():
            self._db.write(
                "UPDATE nodes SET text = ?, steps = ?, status = ?, usage = ?, timing = ?, "
                "high_tokens = ?, all_tokens = ? WHERE id = ?",
                (
                    storable(text),
                    pack_steps(steps),
                    str(status),
                    pack_value(usage),
                    pack_value(timing),
                    high_tokens,
                    all_tokens,
                    node,
                ),
            )
            self._db.write(
                "UPDATE sessions SET updated = ? WHERE id = (SELECT session FROM nodes WHERE id = ?)",
                (time.time(), node),
            )
        return self.node(node)

    def set_status(self, node: int, status: Status) -> None:
        """Change the status alone (a partial reply is being resumed)."""
        self._db.write("UPDATE nodes SET status = ? WHERE id = ?", (str(status), node))

    def set_tier(self, node: int, tier: str) -> None:
        """Name the tier that wrote a reply, where it was to be another one."""
        self._db.write(
            "UPDATE nodes SET tier = ?, author = CASE WHEN author = tier THEN ? ELSE author END WHERE id = ?",
            (tier, tier, node),
        )

    def node(self, node: int) -> Node:
        """One node with its steps. Raises NotFoundError."""
        row = self._db.row(NODE, (node,))
        if row is None:
            raise NotFoundError(f"There is no message {node}")
        return _node(row)

    def set_passages(self, node: int, passages: Sequence[Passage]) -> None:
        """Store what was recalled for a message of the person."""
        self._db.write("UPDATE nodes SET passages = ? WHERE id = ?", (pack_passages(passages), node))

    def take_back(self, node: Node, head: int | None) -> None:
        """Remove a message nothing came of; the head moves back.

        A conversation that consists of nothing else goes too, unless the person made it private or named it meanwhile.
        """
        with self.transaction():
            self._db.write("DELETE FROM nodes WHERE id = ?", (node.id,))
            self.shelf.set_head(node.session, head)
            self._db.write(
                "DELETE FROM sessions WHERE id = ? AND NOT private AND NOT archived AND title = ? "
                "AND NOT EXISTS (SELECT 1 FROM nodes WHERE session = sessions.id)",
                (node.session, title_of(node.text)),
            )

    def passages(self, node: int) -> tuple[Passage, ...]:
        """The passages that were recalled for a message of the person, without what became private or was deleted."""
        row = self._db.row("SELECT passages FROM nodes WHERE id = ?", (node,))
        found = unpack_passages(row["passages"]) if row else ()
        if not any(passage.kind == CONVERSATION for passage in found):
            return found
        open_to_all = self.shelf.recallable()
        return tuple(passage for passage in found if passage.kind != CONVERSATION or passage.uri in open_to_all)

    def path(self, head: int | None, *, steps: bool = True) -> list[Node]:
        """Root to ``head``. Without ``steps`` it is fast for thousands of messages."""
        if head is None:
            return []
        rows = self._db.rows(PATH if steps else PATH_LIGHT, (head,))
        return [_node(row) for row in rows]

    def children(self, session: str, parent: int | None) -> list[Node]:
        """The versions that follow a node (``None``: the first messages), oldest first, without deleted ones."""
        rows = self._db.rows(CHILDREN, (session, parent))
        return [_node(row) for row in rows]

    def all_nodes(self, session: str) -> list[Node]:
        """Every node of a conversation in order of writing, without steps; deleted ones are marked."""
        rows = self._db.rows(ALL, (session,))
        return [_node(row) for row in rows]

    def mark_deleted(self, node: int, deleted: bool) -> None:
        """Hide a node, or show it again; what follows it is reached only through it."""
        # First, and so that it counts as a change of the conversation: if this program dies before the memory has
        # followed, the next start sees that the two differ.
        self._db.write(
            "UPDATE sessions SET updated = ? WHERE id = (SELECT session FROM nodes WHERE id = ?)", (time.time(), node)
        )
        self._db.write("UPDATE nodes SET deleted = ? WHERE id = ?", (int(deleted), node))

    def bookmark(self, node: int, label: str) -> None:
        """Name a node so that it is found again; an empty label removes the name."""
        self._db.write("UPDATE nodes SET bookmark = ? WHERE id = ?", (storable(label), node))

    def integrity(self) -> str:
        """SQLite's own check of the file: ``ok``, or what is wrong."""
        row = self._db.row("PRAGMA integrity_check")
        return str(row[0]) if row else "no answer"


def _node(row: sqlite3.Row) -> Node:
    return Node(
        id=row["id"],
        session=row["session"],
        parent=row["parent"],
        role=row["role"],
        text=row["text"],
        status=Status(row["status"]),
        author=row["author"],
        created=row["created"],
        model=row["model"],
        tier=row["tier"],
        steps=unpack_steps(row["steps"]),
        usage=unpack_usage(row["usage"]),
        timing=unpack_timing(row["timing"]),
        bookmark=row["bookmark"],
        deleted=bool(row["deleted"]),
    )
