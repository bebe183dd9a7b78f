"""Removing documents so that their words are not left in the file.

A plain removal is enough for every search, but SQLite leaves deleted bytes in free pages and FTS5 keeps deleted terms
in its segments until they are merged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from memory.errors import StoreBusyError
from memory.store.store import Store


def erase(store: Store, documents: Iterable[tuple[str, str]]) -> None:
    """Remove documents; freed pages are overwritten and the word index keeps no tombstones.

    Args:
        store: open for writing.
        documents: kind and uri of each; those that are not there are passed over.

    Raises:
        StoreBusyError: they are removed, but another process reads an older state, so that old pages lie in the log
            until it has finished.
    """
    connection = store.database.connection
    before = connection.execute("PRAGMA secure_delete").fetchone()[0]
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        with store.database.transaction() as transaction:
            for kind, uri in documents:
                store.remove_document(kind, uri)
            transaction.execute("INSERT INTO words(words) VALUES('optimize')")
        _empty_log(connection)
    finally:
        connection.execute(f"PRAGMA secure_delete = {int(before)}").fetchone()


def _empty_log(connection: sqlite3.Connection) -> None:
    """Write the write-ahead log into the file and cut it to nothing; old pages would lie in it otherwise."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise StoreBusyError("Another process reads the memory just now; close it and forget the note again.")
