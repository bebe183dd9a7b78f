"""Checking the store against itself, and repairing what can be derived again.

Everything but the documents' texts and vectors is derivable: the word index from the chunks, kind bits from the
placements. A chunk whose text no longer has its hash was altered on disk; its document is marked to be read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from memory.recall.text import index_terms
from memory.store import writes
from memory.store.database import Database, translated

_BATCH = 500


@dataclass(slots=True)
class Verification:
    """What was found, and whether it could be set right; one sentence each."""

    checked_chunks: int = 0
    repaired: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What remains wrong."""

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong to begin with."""
        return not self.repaired and not self.problems


def verify(database: Database, *, repair: bool = True, read_data: bool = True) -> Verification:
    """Check the whole store.

    Args:
        database: Which.
        repair: Set right what can be; otherwise only report.
        read_data: Also recompute every chunk's hash and look at every vector.
    """
    found = Verification()
    connection = database.connection
    with translated(database.path):
        damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    if damage and not all("fts" in line.lower() or "words" in line for line in damage):
        found.problems.append(f"the file is damaged: {damage[0]}")
        return found
    for row in connection.execute("PRAGMA foreign_key_check"):
        found.problems.append(f"a row of {row[0]} refers to nothing")
    for check in (_orphans, _kinds, _vectors) if read_data else (_orphans, _kinds):
        check(database, found, repair)
    if read_data:
        _hashes(database, found, repair)
    _words(database, found, repair, broken=bool(damage))
    found.checked_chunks = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    return found


def reindex_words(database: Database, report: Callable[[int, int], None] | None = None) -> int:
    """Make the word index anew from the chunks, in small commits that each leave it whole; return chunks indexed."""
    connection = database.connection
    total = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    done = last = 0
    while True:
        rows = connection.execute(
            "SELECT id, text, context FROM chunks WHERE id > ? ORDER BY id LIMIT ?", (last, _BATCH)
        ).fetchall()
        if not rows:
            break
        terms = [(row[0], index_terms(row[1]), index_terms(row[2])) for row in rows]
        with database.transaction() as writer:
            for chunk_id, body, context in terms:
                if writer.execute("SELECT 1 FROM chunks WHERE id = ?", (chunk_id,)).fetchone():
                    writer.execute("DELETE FROM words WHERE rowid = ?", (chunk_id,))
                    writer.execute(
                        "INSERT INTO words(rowid, body, context) VALUES (?, ?, ?)", (chunk_id, body, context)
                    )
        done += len(rows)
        last = int(rows[-1][0])
        if report is not None:
            report(done, total)
    with database.transaction() as writer:
        writer.execute("INSERT INTO words(words) VALUES ('optimize')")
    return done


def _note(found: Verification, repair: bool, text: str) -> None:
    (found.repaired if repair else found.problems).append(text)


def _ids(connection: sqlite3.Connection, query: str) -> list[int]:
    return [int(row[0]) for row in connection.execute(query)]


def _orphans(database: Database, found: Verification, repair: bool) -> None:
    orphans = _ids(
        database.connection,
        "SELECT id FROM chunks c WHERE NOT EXISTS (SELECT 1 FROM placements p WHERE p.chunk_id = c.id)",
    )
    if orphans:
        _note(found, repair, f"{len(orphans)} chunks belonged to no document")
        if repair:
            with database.transaction() as writer:
                writes.refresh_chunks(writer, set(orphans))


def _kinds(database: Database, found: Verification, repair: bool) -> None:
    wrong = _ids(
        database.connection,
        "SELECT id FROM (SELECT c.id, c.kinds, sum(DISTINCT CASE WHEN d.private THEN 1024 WHEN d.kind = 'file' THEN 1"
        " WHEN d.kind = 'url' THEN 2 WHEN d.kind = 'note' THEN 4 WHEN d.kind = 'lesson' THEN 8 ELSE 16 END) AS bits"
        " FROM chunks c JOIN placements p ON p.chunk_id = c.id JOIN documents d ON d.id = p.document_id GROUP BY c.id)"
        " WHERE kinds <> bits",
    )
    if wrong:
        _note(found, repair, f"{len(wrong)} chunks were marked with the wrong kinds")
        if repair:
            with database.transaction() as writer:
                writes.refresh_chunks(writer, set(wrong))


def _vectors(database: Database, found: Verification, repair: bool) -> None:
    wrong = database.connection.execute(
        "SELECT v.rowid, v.chunk_id FROM vectors v LEFT JOIN models m ON m.id = v.model_id"
        " LEFT JOIN chunks c ON c.id = v.chunk_id WHERE m.id IS NULL OR c.id IS NULL OR length(v.vector) <> 4 * m.dim",
    ).fetchall()
    if wrong:
        _note(found, repair, f"{len(wrong)} vectors had the wrong size or no chunk; they are made again")
        if repair:
            with database.transaction() as writer:
                writer.executemany("DELETE FROM vectors WHERE rowid = ?", ((row[0],) for row in wrong))
                writes.log_changes(writer, sorted({int(row[1]) for row in wrong}))


def _hashes(database: Database, found: Verification, repair: bool) -> None:
    altered: list[int] = []
    for chunk_id, digest, text, context in database.connection.execute("SELECT id, hash, text, context FROM chunks"):
        if writes.chunk_hash(text, context) != digest:
            altered.append(int(chunk_id))
    if not altered:
        return
    _note(
        found,
        repair,
        f"{len(altered)} chunks did not have the text they were stored with; their documents are read again",
    )
    if repair:
        with database.transaction() as writer:
            for chunk_id in altered:
                writer.execute(
                    "UPDATE documents SET content_hash = '', mtime_ns = 0 WHERE id IN"
                    " (SELECT document_id FROM placements WHERE chunk_id = ?)",
                    (chunk_id,),
                )
                writer.execute("DELETE FROM placements WHERE chunk_id = ?", (chunk_id,))
            writes.refresh_chunks(writer, set(altered))


def _words(database: Database, found: Verification, repair: bool, *, broken: bool) -> None:
    connection = database.connection
    if not broken and not database.read_only:
        try:
            connection.execute("INSERT INTO words(words) VALUES ('integrity-check')")
        except sqlite3.DatabaseError:
            broken = True
    missing, extra = [], []
    if not broken:
        missing = _ids(connection, "SELECT id FROM chunks WHERE id NOT IN (SELECT rowid FROM words)")
        extra = _ids(connection, "SELECT rowid FROM words WHERE rowid NOT IN (SELECT id FROM chunks)")
    if broken:
        _note(found, repair, "the word index was damaged and is made anew")
        if repair:
            with database.transaction() as writer:
                writer.execute("DROP TABLE words")
                writer.execute(
                    "CREATE VIRTUAL TABLE words USING fts5(body, context,"
                    " tokenize = \"unicode61 remove_diacritics 0 tokenchars '_'\")"
                )
            reindex_words(database)
    elif missing or extra:
        _note(found, repair, f"the word index lacked {len(missing)} chunks and had {len(extra)} too many")
        if repair:
            with database.transaction() as writer:
                writer.executemany("DELETE FROM words WHERE rowid = ?", ((row,) for row in extra))
            reindex_words(database)
