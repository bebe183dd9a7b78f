"""The list of conversations: titles, heads, archive, full-text search."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.database import Database
from agent.errors import NotFoundError
from agent.packing import pack_passages, unpack_passages
from agent.text import fts_query, storable
from agent.values import CONVERSATION, SessionInfo


@dataclass(frozen=True, slots=True)
class Found:
    """One message found by full-text search."""

    session: str
    title: str
    node: int
    role: str
    snippet: str
    """The surroundings of the match, with the matched words between U+2039 and U+203A."""


class Shelf:
    """All conversations of a tree, as a list."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def sessions(self, query: str = "", *, archived: bool = False) -> list[SessionInfo]:
        """Conversations, the latest first; with a query those whose title or messages hold all its words."""
        sql = (
            "SELECT s.*, (SELECT count(*) FROM nodes n WHERE n.session = s.id AND n.deleted = 0) AS messages "
            "FROM sessions s WHERE s.deleted = 0 AND s.archived = ?"
        )
        values: list[object] = [int(archived)]
        if query.strip():
            sql += (
                " AND (s.title LIKE ? ESCAPE '!' OR s.id IN (SELECT n.session FROM words JOIN nodes n ON n.id = "
                "words.rowid WHERE words MATCH ? AND n.deleted = 0))"
            )
            escaped = query.strip().replace("!", "!!").replace("%", "!%").replace("_", "!_")
            values += [f"%{storable(escaped)}%", fts_query(query)]
        return [_info(row) for row in self._db.rows(sql + " ORDER BY s.updated DESC", values)]

    def search(self, query: str, limit: int = 50) -> list[Found]:
        """Messages that hold all words of the query, the best match first."""
        rows = self._db.rows(
            "SELECT n.session, s.title, n.id, n.role, snippet(words, 0, '\u2039', '\u203a', '\u2026', 16) AS snippet "
            "FROM words JOIN nodes n ON n.id = words.rowid JOIN sessions s ON s.id = n.session "
            "WHERE words MATCH ? AND n.deleted = 0 AND s.deleted = 0 ORDER BY bm25(words) LIMIT ?",
            (fts_query(query), limit),
        )
        return [Found(row["session"], row["title"], row["id"], row["role"], row["snippet"]) for row in rows]

    def info(self, session: str) -> SessionInfo | None:
        """One conversation, or ``None`` while it has no message."""
        row = self._db.row(
            "SELECT s.*, (SELECT count(*) FROM nodes n WHERE n.session = s.id AND n.deleted = 0) AS messages "
            "FROM sessions s WHERE s.id = ? AND s.deleted = 0",
            (session,),
        )
        return _info(row) if row else None

    def find_session(self, name: str) -> str:
        """The id that ``name`` (an id, the unique start of one, or ``last``) means. Raises NotFoundError."""
        if name == "last":
            rows = self._db.rows("SELECT id FROM sessions WHERE deleted = 0 ORDER BY updated DESC LIMIT 1")
        else:
            rows = self._db.rows(
                "SELECT id FROM sessions WHERE deleted = 0 AND substr(id, 1, ?) = ? ORDER BY id = ? DESC LIMIT 3",
                (len(name), storable(name), storable(name)),
            )
        # The empty text begins every id: of a single conversation it would be "the unique start".
        if name and rows and (len(rows) == 1 or rows[0]["id"] == name):
            return str(rows[0]["id"])
        what = "Several conversations begin with" if name and rows else "There is no conversation"
        raise NotFoundError(f"{what} `{name}`; `fovea sessions list` shows them")

    def head(self, session: str) -> int | None:
        """The node the next message is added below."""
        row = self._db.row("SELECT head FROM sessions WHERE id = ?", (session,))
        return None if row is None else row["head"]

    def set_head(self, session: str, node: int | None) -> None:
        """Move the head."""
        self._db.write("UPDATE sessions SET head = ? WHERE id = ?", (node, session))

    def rename(self, session: str, title: str) -> None:
        """Give a conversation a title."""
        self._db.write("UPDATE sessions SET title = ? WHERE id = ?", (storable(title).strip(), session))

    def set_archived(self, session: str, archived: bool) -> None:
        """Put a conversation away, or back."""
        self._db.write("UPDATE sessions SET archived = ? WHERE id = ?", (int(archived), session))

    def set_private(self, session: str, private: bool) -> None:
        """Keep a conversation out of the recall of others, or let it in."""
        self._db.write("UPDATE sessions SET private = ? WHERE id = ?", (int(private), session))

    def recallable(self) -> dict[str, float]:
        """Conversations that are neither private nor deleted, by id, with the Unix time of their last change."""
        rows = self._db.rows("SELECT id, updated FROM sessions WHERE deleted = 0 AND private = 0")
        return {row["id"]: row["updated"] for row in rows}

    def begun_with(self, text: str) -> set[str]:
        """The conversations that begin with this very message."""
        rows = self._db.rows(
            "SELECT DISTINCT session FROM nodes WHERE parent IS NULL AND role = 'user' AND text = ?", (storable(text),)
        )
        return {row["session"] for row in rows}

    def set_deleted(self, session: str, deleted: bool) -> None:
        """Delete a conversation; it can be brought back until the tree is closed."""
        self._db.write("UPDATE sessions SET deleted = ? WHERE id = ?", (int(deleted), session))

    def erase_deleted(self) -> None:
        """Erase deleted conversations for good: from the tables, the word index, and the free pages of the file."""
        if self._db.row("SELECT 1 FROM sessions WHERE deleted = 1") is None:
            return
        with self._db.transaction():
            self._forget_quotations()
            self._db.write("DELETE FROM sessions WHERE deleted = 1")
            # The word index keeps the words of deleted rows until its parts are merged.
            self._db.write("INSERT INTO words(words) VALUES ('optimize')")
        self._db.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _forget_quotations(self) -> None:
        """Take what other conversations quoted from deleted ones out of them."""
        gone = {row["id"] for row in self._db.rows("SELECT id FROM sessions WHERE deleted = 1")}
        quoting = self._db.rows('SELECT id, passages FROM nodes WHERE passages LIKE \'%"kind": "conversation"%\'')
        for row in quoting:
            found = unpack_passages(row["passages"])
            kept = [passage for passage in found if passage.kind != CONVERSATION or passage.uri not in gone]
            if len(kept) < len(found):
                self._db.write("UPDATE nodes SET passages = ? WHERE id = ?", (pack_passages(kept), row["id"]))


def _info(row: sqlite3.Row) -> SessionInfo:
    return SessionInfo(
        id=row["id"],
        title=row["title"],
        created=row["created"],
        updated=row["updated"],
        messages=row["messages"],
        archived=bool(row["archived"]),
        private=bool(row["private"]),
    )
