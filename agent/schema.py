"""The tables of the conversation file, as numbered migrations.

``PRAGMA user_version`` holds the number of the last migration that ran. A migration is never changed once it was
released; a new need is a new migration.
"""

from __future__ import annotations

import sqlite3

from agent.errors import TreeTooNewError

FIRST = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,
    updated REAL NOT NULL,
    head INTEGER,
    archived INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    parent INTEGER REFERENCES nodes(id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    status TEXT NOT NULL,
    author TEXT NOT NULL,
    created REAL NOT NULL,
    model TEXT NOT NULL DEFAULT '',
    tier TEXT NOT NULL DEFAULT '',
    steps BLOB,
    usage TEXT,
    timing TEXT,
    high_tokens INTEGER NOT NULL DEFAULT 0,
    all_tokens INTEGER NOT NULL DEFAULT 0,
    passages TEXT,
    bookmark TEXT NOT NULL DEFAULT '',
    deleted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX nodes_by_parent ON nodes(session, parent);
CREATE INDEX nodes_by_parent_alone ON nodes(parent);
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    node INTEGER REFERENCES nodes(id) ON DELETE CASCADE,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    predicted_s REAL,
    actual_s REAL
) STRICT;
CREATE INDEX decisions_by_session ON decisions(session);
CREATE TABLE asks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    node INTEGER NOT NULL REFERENCES nodes(id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    tier TEXT NOT NULL,
    why TEXT NOT NULL,
    first INTEGER NOT NULL,
    past INTEGER NOT NULL,
    seconds REAL NOT NULL,
    memory INTEGER NOT NULL,
    spent REAL NOT NULL,
    budget REAL NOT NULL,
    answer TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX asks_by_session ON asks(session);
CREATE TABLE picks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    chosen INTEGER NOT NULL REFERENCES nodes(id) ON DELETE CASCADE,
    at REAL NOT NULL,
    blind INTEGER NOT NULL,
    candidates TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE words USING fts5(
    text, content='nodes', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER nodes_insert AFTER INSERT ON nodes BEGIN
    INSERT INTO words(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER nodes_delete AFTER DELETE ON nodes BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER nodes_update AFTER UPDATE OF text ON nodes BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO words(rowid, text) VALUES (new.id, new.text);
END;
"""

PRIVATE = """
ALTER TABLE sessions ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
"""

MIGRATIONS = (FIRST, PRIVATE)


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Bring the file up to the newest schema, each migration in one transaction.

    Raises:
        TreeTooNewError: The file was written by a newer version.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    check_version(version, where)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def check_version(version: int, where: str) -> None:
    """Raise TreeTooNewError when this program does not know the schema."""
    if version > len(MIGRATIONS):
        raise TreeTooNewError(f"{where} was written by a newer fovea (schema {version}); update fovea to open it")
