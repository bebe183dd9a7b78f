"""One SQLite file, one writer: opening, locking, transactions, and errors a person can act on.

The first process takes the writer lock (released by the kernel, also after SIGKILL); a second one opens the file for
reading and knows why. Every method may be called from any thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from agent import paths, schema
from agent.errors import DiskFullError, ReadOnlyError, StorageError, TreeDamagedError

ROOM = 1 << 17
"""Bytes a database needs beside itself while it is open: the shared-memory file and the first pages of the log."""
IN_MEMORY = "memory"
DAMAGE = ("malformed", "not a database", "disk image", "file is encrypted")


class Database:
    """A connection with its lock. Use ``Database.open`` or ``Database.in_memory``."""

    def __init__(
        self, connection: sqlite3.Connection, where: str, *, lock: filelock.BaseFileLock | None, why: str
    ) -> None:
        self._connection = connection
        self._mutex = threading.RLock()
        self._depth = 0
        self._lock = lock
        self.where = where
        self.why_read_only = why
        """Why nothing can be written; empty when it can."""
        self.lasting = where != IN_MEMORY
        """Whether it outlives the process."""
        self.busy = False
        """Whether the reason is another process that writes."""
        connection.row_factory = sqlite3.Row

    @classmethod
    def in_memory(cls) -> Database:
        """A database that is gone with the process."""
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        schema.migrate(connection, IN_MEMORY)
        connection.execute("PRAGMA foreign_keys = ON")
        return cls(connection, IN_MEMORY, lock=None, why="")

    @classmethod
    def open(cls, path: Path, lock_path: Path) -> Database:
        """Open for writing if no other process does, else for reading.

        Raises:
            StorageError: The file cannot be opened at all.
            TreeDamagedError: It is not a database.
            TreeTooNewError: A newer fovea wrote it.
        """
        lock, why, busy = _claim(path, lock_path)
        try:
            with explained(str(path)):
                try:
                    connection = _for_reading(path) if why else _for_writing(path)
                except DiskFullError:
                    why = f"the disk of {path.parent} is full"
                    connection = _for_reading(path)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        if why and lock is not None:
            lock.release()
            lock = None
        database = cls(connection, str(path), lock=lock, why=why)
        database.busy = busy
        return database

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return bool(self.why_read_only)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._mutex, explained(self.where):
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._mutex, explained(self.where):
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """One writing statement; returns the id of the inserted row.

        Raises:
            ReadOnlyError: This process is not the writer.
            StorageError: The disk is full or failing; nothing of the transaction was kept.
        """
        with self.transaction(), explained(self.where):
            return int(self._connection.execute(sql, values).lastrowid or 0)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are committed together on leaving, or none. Transactions nest into the outermost."""
        if self.read_only:
            raise ReadOnlyError(f"Nothing can be saved: {self.why_read_only}")
        with self._mutex:
            if self._depth:
                yield
                return
            with explained(self.where):
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                with explained(self.where):
                    self._connection.execute("COMMIT")
            except BaseException:
                # After some failures (full disk) SQLite has rolled back already.
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def close(self) -> None:
        """Close the file and give the writer lock back. Calling it again does nothing."""
        with self._mutex:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None


def _claim(path: Path, lock_path: Path) -> tuple[filelock.BaseFileLock | None, str, bool]:
    """The writer lock, why it is not to be had (empty when it is), and whether another process has it."""
    lock = filelock.FileLock(lock_path, timeout=0, mode=0o600, thread_local=False)
    try:
        paths.create(path.parent)
        lock.acquire()
    except filelock.Timeout:
        return None, f"another fovea is using {path.parent} (close that one, then start this one again)", True
    except OSError as error:
        return None, f"{path.parent} cannot be written ({error.strerror or error})", False
    except StorageError as error:
        return None, str(error), False
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        lock.release()
        return None, f"{path} cannot be written", False
    return lock, "", False


def _for_writing(path: Path) -> sqlite3.Connection:
    """A connection that may write. Raises DiskFullError, sqlite3.Error."""
    new = not path.exists()
    if new:
        # Created here so that it is private from its first byte; SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
    try:
        with explained(str(path)):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            schema.migrate(connection, str(path))
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        if new:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return connection


def _for_reading(path: Path) -> sqlite3.Connection:
    if not path.exists():
        return _empty()
    # On read-only media and on a full disk there is no place for SQLite's shared-memory file: read the file as it lies.
    as_it_lies = not os.access(path.parent, os.W_OK)
    try:
        connection, version = _opened_at_version(path, immutable=as_it_lies)
    except sqlite3.OperationalError:
        if as_it_lies or not is_full(path.parent):
            raise
        connection, version = _opened_at_version(path, immutable=True)
    if version == 0:
        connection.close()
        return _empty()  # its writer is creating it at this moment
    return connection if version == len(schema.MIGRATIONS) else _brought_up(connection)


def _brought_up(old: sqlite3.Connection) -> sqlite3.Connection:
    """A copy in memory of a file that an older version wrote and this process may not change."""
    copy = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    with contextlib.closing(old):
        old.backup(copy)
    schema.migrate(copy, IN_MEMORY)
    return copy


def _opened_at_version(path: Path, *, immutable: bool) -> tuple[sqlite3.Connection, int]:
    where = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(where, uri=True, check_same_thread=False, isolation_level=None, timeout=5)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        schema.check_version(version, str(path))
    except BaseException:
        connection.close()
        raise
    return connection, version


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    schema.migrate(connection, "memory")
    return connection


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has no room for SQLite's own files."""
    try:
        return shutil.disk_usage(folder).free < ROOM
    except OSError:
        return False


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn SQLite's errors into the room's, in words."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if any(sign in text for sign in DAMAGE):
            raise TreeDamagedError(
                f"{where} is damaged ({text}); move it away to start anew, or restore it from a backup"
            ) from error
        # SQLite cannot make its shared-memory file on a full disk, and calls that an I/O error.
        if "full" in text or ("disk I/O" in text and is_full(Path(where).parent)):
            raise DiskFullError(f"The disk with {where} is full: free some space; nothing was changed.") from error
        raise StorageError(f"{where} cannot be used: {text}") from error
