"""Removing documents so that their words are not left in the file.

A plain removal is enough for every search, but SQLite leaves deleted bytes in free pages and FTS5 keeps deleted terms
in its segments until they are merged. Overwritten pages reach the file only when the write-ahead log is emptied, which
a reader of an older state can keep from happening; that it is still to be done is written down with the removal itself,
so that it is done later (``finish_erasing``) whatever ends this process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from memory.errors import StoreBusyError
from memory.store.database import translated
from memory.store.store import Store

UNFINISHED = "erase:unfinished"
"""Setting of the store while old pages may lie in the file or its log."""


def erase(store: Store, documents: Iterable[tuple[str, str]]) -> None:
    """Remove documents; freed pages are overwritten and the word index keeps no tombstones.

    Args:
        store: open for writing.
        documents: kind and uri of each; those that are not there are passed over.

    Raises:
        StoreBusyError: they are removed, but another process reads an older state, so that old pages lie in the log
            until it has finished; ``finish_erasing`` is to be called again.
    """
    connection = store.database.connection
    before = connection.execute("PRAGMA secure_delete").fetchone()[0]
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        with store.database.transaction() as transaction:
            for kind, uri in documents:
                store.remove_document(kind, uri)
            transaction.execute("INSERT INTO words(words) VALUES('optimize')")
            store.set_meta(UNFINISHED, "1")
        finish_erasing(store)
    finally:
        connection.execute(f"PRAGMA secure_delete = {int(before)}").fetchone()


def finish_erasing(store: Store) -> None:
    """Empty the log where an erasing could not; one look where none is unfinished.

    Raises:
        StoreBusyError: another process still reads an older state.
    """
    if store.meta(UNFINISHED) is None:
        return
    with translated(store.database.path):
        _empty_log(store.database.connection)
    store.delete_meta(UNFINISHED)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Write the write-ahead log into the file and cut it to nothing; old pages would lie in it otherwise."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise StoreBusyError(
            "Another process reads the memory just now. What was to be forgotten is removed, and its old pages are "
            "overwritten as soon as that process lets go; close it and forget again to have it proved now."
        )
