"""One SQLite file, ``memory.db``: opening it, its connections, its transactions.

WAL mode, so that readers never wait for a writer; ``synchronous=NORMAL``, so that a killed process loses nothing it
committed and a power cut can lose at most the last commits, never the file; the end of every command checkpoints,
which syncs. Connections are one per thread (SQLite's own rule for parallel reads); those of threads that have ended are
closed when the next one is opened, all others together.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory.errors import StoreBusyError, StoreDamagedError, StoreError, StoreTooNewError
from memory.store.schema import MIGRATIONS, migrate, version

FILE_NAME = "memory.db"
BUSY_SECONDS = 60.0
PAGE_BYTES = 8192
"""Five 384-dimensional float32 vectors a page instead of two."""


class Database:
    """Connections to one ``memory.db``; safe to share between threads.

    Args:
        folder: The data folder; created with mode 0700 unless ``read_only``.
        read_only: Refuse every write; the file must exist and be at the newest version.

    Raises:
        StoreError: The file cannot be opened; the subclass says why.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.read_only = read_only
        self._local = threading.local()
        self._all: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        self._closed = False
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif not self.path.exists():
            raise StoreError(f"There is no memory at {self.path} yet. Add something first, e.g. `fovea kb add FOLDER`.")
        self._prepare()

    def _prepare(self) -> None:
        connection = self.connection
        with translated(self.path):
            found = version(connection)
            if found > len(MIGRATIONS):
                raise StoreTooNewError(
                    f"{self.path} was written by a newer fovea (format {found}, this one knows {len(MIGRATIONS)}). "
                    "Update fovea, or point FOVEA_DATA at another folder."
                )
            if not self.read_only:
                migrate(connection)

    @property
    def connection(self) -> sqlite3.Connection:
        """The calling thread's connection, opened on first use."""
        if self._closed:
            raise StoreError(f"The store at {self.path} has been closed.")
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is not None:
            return existing
        with translated(self.path):
            connection = self._open()
        self._local.connection = connection
        with self._guard:
            # The chat recalls in a new thread every turn: without this a long one would run out of file descriptors.
            for held in [held for held in self._all if not held[0].is_alive()]:
                held[1].close()
                self._all.remove(held)
            self._all.append((threading.current_thread(), connection))
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = self._open_to_read() if self.read_only else self._connect("mode=rwc")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 1073741824")
        connection.execute("PRAGMA temp_store = MEMORY")
        if not self.read_only:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self.path.chmod(0o600)
        return connection

    def _connect(self, how: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.resolve().as_uri()}?{how}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # transactions are spelled out: `with database.transaction()`
            check_same_thread=False,  # so that close() may run in any thread; use stays one thread each
        )

    def _open_to_read(self) -> sqlite3.Connection:
        """Open without writing a byte, also where SQLite cannot lay its shared memory beside the file."""
        connection = self._connect("mode=ro")
        try:
            version(connection)
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN or can_write(self.folder):
                raise
        # Nobody can change a file there, so it may be read without any lock; what is still in a log would be missed.
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise StoreError(
                f"{log} holds changes that cannot be read where nothing can be written. "
                "Copy the folder to a place that can be written and read it there."
            )
        return self._connect("mode=ro&immutable=1")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end, rolled back on any exception; may be nested (joins the outer).

        Raises:
            StoreBusyError: Another process wrote for longer than ``BUSY_SECONDS``.
        """
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        with translated(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()  # does nothing where SQLite has rolled back already, e.g. on a full disk
                raise

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file and sync it; harmless when a reader is in the way."""
        if not self.read_only:
            with translated(self.path):
                self.connection.execute("PRAGMA analysis_limit = 400").fetchall()
                self.connection.execute("PRAGMA optimize").fetchall()  # keeps the planner's idea of the sizes right
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def interrupt(self) -> None:
        """End the statements that other threads run; they raise ``StoreError``."""
        with self._guard:
            for thread, connection in self._all:
                if thread is not threading.current_thread():
                    connection.interrupt()

    def close(self) -> None:
        """Close every thread's connection; the object cannot be used afterwards."""
        with self._guard:
            self._closed = True
            for _, connection in self._all:
                connection.close()
            self._all.clear()


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder (False for read-only media as well)."""
    return os.access(folder, os.W_OK)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's exceptions into errors that name the file and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if text.startswith("Could not decode"):  # what follows are words of a document, which an error must not tell
            raise _damaged(path, "a text in it is no UTF-8") from None
        if "locked" in text or "busy" in text:
            raise StoreBusyError(f"Another process is writing to {path}; it did not finish in a minute.") from error
        raise StoreError(
            f"{path} could not be used: {text}. Check the disk and the permissions of its folder."
        ) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error):
            raise StoreError(f"The store at {path} has been closed.") from error  # by another thread, meanwhile
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> StoreDamagedError:
    return StoreDamagedError(
        f"{path} is damaged ({why}). `fovea kb verify` tries to repair it; where it cannot, move the file away and add "
        "your documents again: they are untouched."
    )
