"""The child process that holds chromadb: ``python -m memory.chroma_index.worker``.

chromadb was measured to end its whole process with SIGSEGV on a store that a killed writer left behind, so it never
runs in fovea's own. Requests and answers are length-prefixed JSON; vectors travel as base64 of little-endian float32.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

_HNSW = {"space": "cosine", "ef_construction": 128, "ef_search": 128, "max_neighbors": 24}


class Holder:
    """One open collection; every public method answers one request."""

    def __init__(self) -> None:
        self._collection: Any = None

    def open(self, place: str, name: str, model: str, dim: int) -> dict[str, Any]:
        """Open or create a collection in a folder, or on a server where ``place`` is a web address."""
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        if place.startswith(("http://", "https://")):
            parts = urlsplit(place)
            secure = parts.scheme == "https"
            client: Any = chromadb.HttpClient(
                host=parts.hostname or "localhost",
                port=parts.port or (443 if secure else 8000),
                ssl=secure,
                settings=settings,
            )
        else:
            client = chromadb.PersistentClient(path=place, settings=settings)
        self._collection = client.get_or_create_collection(
            name,
            embedding_function=None,
            metadata={"model": model, "dim": dim},
            configuration={"hnsw": _HNSW},
        )
        found = self._collection.metadata or {}
        return {"count": int(self._collection.count()), "model": found.get("model"), "dim": found.get("dim")}

    def upsert(self, ids: list[int], vectors: str, dim: int) -> dict[str, Any]:
        """Add or replace vectors by chunk id."""
        self._collection.upsert(ids=[str(one) for one in ids], embeddings=_rows(vectors, dim))
        return {}

    def delete(self, ids: list[int]) -> dict[str, Any]:
        """Remove vectors by chunk id; unknown ids do no harm."""
        self._collection.delete(ids=[str(one) for one in ids])
        return {}

    def count(self) -> dict[str, Any]:
        """Count the vectors."""
        return {"count": int(self._collection.count())}

    def query(self, vectors: str, dim: int, limit: int) -> dict[str, Any]:
        """Return the nearest ids of every row, with cosine similarities."""
        found = self._collection.query(query_embeddings=_rows(vectors, dim), n_results=limit, include=["distances"])
        return {
            "ids": [[int(one) for one in row] for row in found["ids"]],
            "scores": [[1.0 - float(one) for one in row] for row in found["distances"]],
        }

    def all_ids(self) -> dict[str, Any]:
        """Return every id held."""
        return {"ids": [int(one) for one in self._collection.get(include=[])["ids"]]}


def _rows(vectors: str, dim: int) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(vectors), "<f4").reshape(-1, dim)


def main() -> None:
    """Answer requests until stdin ends."""
    source: BinaryIO = sys.stdin.buffer
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # chatter of libraries stays out of the answers
    holder = Holder()
    while head := source.read(8):
        request = json.loads(source.read(int.from_bytes(head, "big")))
        method = request.pop("do")
        try:
            answer = getattr(holder, method)(**request)
        except Exception as error:  # every failure of chromadb is an answer: the parent decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        body = json.dumps(answer).encode()
        out.write(len(body).to_bytes(8, "big") + body)
        out.flush()


if __name__ == "__main__":
    main()
