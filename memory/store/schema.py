"""The tables of ``memory.db`` as numbered migrations; ``PRAGMA user_version`` is the number of the last one applied.

A migration that has shipped is never edited: a change is a new entry at the end.

Every table but ``words`` and ``changes`` is the truth. ``words`` is the FTS5 index over terms prepared by
``memory.recall.text``; ``changes`` is a log of chunk ids by which caches (the vector matrix, the chromadb index)
learn what to look at again, so its last sequence number is the version of the data.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

KIND_BITS = {"file": 1, "url": 2, "note": 4, "lesson": 8, "conversation": 16}
"""Bit of each document kind in ``chunks.kinds``; a chunk carries the bits of its sources that are not private."""

PRIVATE_BIT = 1 << 10
"""Set in ``chunks.kinds`` where a private document holds the chunk; searched only when asked for by name."""

_FIRST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE documents(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK(kind IN ('file', 'url', 'note', 'lesson', 'conversation')),
  uri TEXT NOT NULL,
  title TEXT NOT NULL DEFAULT '',
  content_hash TEXT NOT NULL DEFAULT '',
  size INTEGER NOT NULL DEFAULT 0,
  mtime_ns INTEGER NOT NULL DEFAULT 0,
  format TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL DEFAULT 'ready' CHECK(status IN ('ready', 'failed')),
  reason TEXT NOT NULL DEFAULT '',
  mark TEXT NOT NULL DEFAULT '',
  root TEXT NOT NULL DEFAULT '',
  private INTEGER NOT NULL DEFAULT 0,
  added_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  UNIQUE(kind, uri)
);
CREATE INDEX documents_root ON documents(root);

CREATE TABLE chunks(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL UNIQUE,
  text TEXT NOT NULL,
  context TEXT NOT NULL DEFAULT '',
  n_tokens INTEGER NOT NULL,
  kinds INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE placements(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
  chunk_id INTEGER NOT NULL REFERENCES chunks(id),
  ordinal INTEGER NOT NULL,
  heading TEXT NOT NULL DEFAULT '',
  char_start INTEGER NOT NULL,
  char_end INTEGER NOT NULL,
  line_start INTEGER NOT NULL DEFAULT 0,
  page_start INTEGER,
  page_end INTEGER,
  UNIQUE(document_id, ordinal)
);
CREATE INDEX placements_chunk ON placements(chunk_id);

CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dim INTEGER NOT NULL);

CREATE TABLE vectors(
  chunk_id INTEGER NOT NULL REFERENCES chunks(id) ON DELETE CASCADE,
  model_id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
  vector BLOB NOT NULL
);
CREATE UNIQUE INDEX vectors_key ON vectors(model_id, chunk_id);
CREATE INDEX vectors_chunk ON vectors(chunk_id);

CREATE TABLE changes(seq INTEGER PRIMARY KEY AUTOINCREMENT, chunk_id INTEGER NOT NULL);

CREATE VIRTUAL TABLE words USING fts5(body, context, tokenize = "unicode61 remove_diacritics 0 tokenchars '_'");
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""SQL scripts in order; the first brings an empty file to version 1."""


def kind_bits(kinds: Iterable[str] | None, private: bool = False) -> int:
    """Return the mask that lets these kinds through; all of them for None."""
    bits = PRIVATE_BIT if private else 0
    for kind in KIND_BITS if kinds is None else kinds:
        bits |= KIND_BITS[kind]
    return bits


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the file to the newest version, one transaction a step, and return that version.

    Raises:
        sqlite3.DatabaseError: The file is not a database.
    """
    for number in range(version(connection) + 1, len(MIGRATIONS) + 1):
        # executescript commits what is open, so the transaction is spelled inside the script; the version is read
        # again there because another process may have migrated while we waited for the lock.
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version(connection) < number:
                for statement in _statements(MIGRATIONS[number - 1]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return version(connection)


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration applied to this file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """Split a script at the semicolons that end a statement."""
    out: list[str] = []
    buffer = ""
    for line in script.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            out.append(buffer.strip())
            buffer = ""
    return [statement for statement in out if statement]
