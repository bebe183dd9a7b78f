"""Every vector of one model as one matrix in memory, kept in step with the store: exact search without an index.

The matrix follows ``changes``: a query first reads the log's last sequence number (microseconds), and only the chunks
logged since are read again. 100,000 x 384 float32 values take 154 MB and one product of 10 to 16 ms on two cores.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.store.database import Database
from memory.store.values import Hit
from memory.store.writes import VARIABLES

_REBUILD_SHARE = 0.5
"""Above this share of changed rows, reading everything is cheaper than patching."""


@dataclass(slots=True)
class _State:
    """The matrix as of one sequence number; rows beyond ``count`` are spare room."""

    seq: int
    count: int
    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    rows: NDArray[np.float32]
    at: dict[int, int]


def data_version(connection: sqlite3.Connection) -> int:
    """Return the sequence number of the last change; 0 for a new store."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return int(row[0]) if row else 0


def changed_since(connection: sqlite3.Connection, seq: int) -> list[int] | None:
    """Return the chunk ids changed after ``seq``, or None where the log no longer reaches back that far."""
    first = connection.execute("SELECT min(seq) FROM changes").fetchone()[0]
    if seq < data_version(connection) and (first is None or int(first) > seq + 1):
        return None
    rows = connection.execute("SELECT DISTINCT chunk_id FROM changes WHERE seq > ?", (seq,))
    return [int(row[0]) for row in rows]


class VectorMatrix:
    """Exact cosine search over the stored vectors of one model; thread-safe."""

    def __init__(self, database: Database, model: str) -> None:
        self._database = database
        self._model = model
        self._lock = threading.Lock()
        self._state: _State | None = None

    def search(self, query: NDArray[np.float32], limit: int, bits: int) -> list[Hit]:
        """Return the nearest chunks whose kind bits meet ``bits``, best first.

        Args:
            query: One unit vector, shape ``(dim,)``.
            limit: How many hits at most.
            bits: Kind bits; a chunk with none of them is passed over.

        Returns:
            Hits scored by cosine similarity, -1..1.
        """
        with self._lock:
            state = self._current()
            if state is None or state.count == 0 or query.shape != (state.rows.shape[1],):
                return []
            scores = state.rows[: state.count] @ query.astype(np.float32, copy=False)
            scores[(state.kinds[: state.count] & bits) == 0] = -np.inf
            best = top_rows(scores, limit)
            found = zip(state.ids[best].tolist(), scores[best].tolist(), strict=True)
            return [Hit(chunk_id, score) for chunk_id, score in found if score > -np.inf]

    def vectors(self, chunk_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Return copies of the vectors of these chunks; chunks without one are missing."""
        with self._lock:
            state = self._current()
            if state is None:
                return {}
            held = [chunk_id for chunk_id in chunk_ids if chunk_id in state.at]
            copied = state.rows[[state.at[chunk_id] for chunk_id in held]]  # one gather instead of a copy a row
            return dict(zip(held, copied, strict=True))

    @property
    def loaded(self) -> bool:
        """Whether the vectors are in memory."""
        return self._state is not None

    def __len__(self) -> int:
        with self._lock:
            state = self._current()
            return state.count if state else 0

    def _current(self) -> _State | None:
        """Bring the matrix up to date inside one read transaction, so that log and rows belong together."""
        connection = self._database.connection
        state = self._state
        if state is not None and data_version(connection) == state.seq:
            return state
        outer = connection.in_transaction
        if not outer:
            connection.execute("BEGIN")
        try:
            self._state = self._update(connection, state)
        finally:
            if not outer:
                connection.execute("COMMIT")
        return self._state

    def _update(self, connection: sqlite3.Connection, state: _State | None) -> _State | None:
        model = connection.execute("SELECT id, dim FROM models WHERE name = ?", (self._model,)).fetchone()
        if model is None:
            return None
        if state is not None and state.rows.shape[1] == int(model[1]):
            ids = changed_since(connection, state.seq)
            if ids is not None and len(ids) <= max(1000, _REBUILD_SHARE * state.count):
                return _patched(connection, state, int(model[0]), ids)
        return _read_all(connection, int(model[0]), int(model[1]))


def _read_all(connection: sqlite3.Connection, model_id: int, dim: int) -> _State:
    seq = data_version(connection)
    total = int(connection.execute("SELECT count(*) FROM vectors WHERE model_id = ?", (model_id,)).fetchone()[0])
    room = total + total // 8 + 64
    state = _State(seq, 0, np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros((room, dim), np.float32), {})
    cursor = connection.execute(
        "SELECT v.chunk_id, c.kinds, v.vector FROM vectors v JOIN chunks c ON c.id = v.chunk_id WHERE v.model_id = ?",
        (model_id,),
    )
    while block := cursor.fetchmany(4096):
        end = state.count + len(block)
        state.ids[state.count : end] = [row[0] for row in block]
        state.kinds[state.count : end] = [row[1] for row in block]
        state.rows[state.count : end] = np.frombuffer(b"".join(row[2] for row in block), np.float32).reshape(-1, dim)
        state.count = end
    state.at = {int(chunk_id): row for row, chunk_id in enumerate(state.ids[: state.count])}
    return state


def _patched(connection: sqlite3.Connection, state: _State, model_id: int, ids: list[int]) -> _State:
    """Apply the logged changes in place: rewrite, append, or fill the hole with the last row."""
    seq = data_version(connection)
    found: dict[int, tuple[int, bytes]] = {}
    for block in _blocks(ids):
        marks = ",".join("?" * len(block))
        query = (
            "SELECT v.chunk_id, c.kinds, v.vector FROM vectors v JOIN chunks c ON c.id = v.chunk_id"
            f" WHERE v.model_id = ? AND v.chunk_id IN ({marks})"
        )
        for chunk_id, kinds, blob in connection.execute(query, (model_id, *block)):
            found[int(chunk_id)] = (int(kinds), blob)
    for chunk_id in ids:
        row = state.at.get(chunk_id)
        if chunk_id in found:
            if row is None:
                row = _append(state, chunk_id)
            state.kinds[row] = found[chunk_id][0]
            state.rows[row] = np.frombuffer(found[chunk_id][1], np.float32)
        elif row is not None:
            _delete(state, chunk_id, row)
    state.seq = seq
    return state


def _append(state: _State, chunk_id: int) -> int:
    if state.count == len(state.ids):
        room = len(state.ids) + max(64, len(state.ids) // 4)
        state.ids = np.resize(state.ids, room)
        state.kinds = np.resize(state.kinds, room)
        grown = np.zeros((room, state.rows.shape[1]), np.float32)
        grown[: state.count] = state.rows[: state.count]
        state.rows = grown
    row = state.count
    state.count += 1
    state.ids[row] = chunk_id
    state.at[chunk_id] = row
    return row


def _delete(state: _State, chunk_id: int, row: int) -> None:
    last = state.count - 1
    if row != last:
        moved = int(state.ids[last])
        state.ids[row], state.kinds[row], state.rows[row] = moved, state.kinds[last], state.rows[last]
        state.at[moved] = row
    del state.at[chunk_id]
    state.count = last


def _blocks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + VARIABLES] for start in range(0, len(ids), VARIABLES))


def top_rows(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Return the rows of the ``limit`` highest scores, best first, ties by row."""
    start = len(scores) - limit
    rows = np.argpartition(scores, start)[start:] if start > 0 else np.arange(len(scores))
    order = np.lexsort((rows, -scores[rows]))
    return rows[order].astype(np.int64)
