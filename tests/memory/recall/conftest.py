"""A store and a small embedding model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory.store import Store
from tests.memory.recall.fakes import TopicEmbedder


@pytest.fixture
def embedder() -> TopicEmbedder:
    return TopicEmbedder()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def embed(store: Store, embedder: TopicEmbedder) -> Callable[[], None]:
    """Give every chunk its vector."""

    def work() -> None:
        chunks = store.pending(embedder.name, 10_000)
        rows = embedder.encode([f"{chunk.context}\n{chunk.text}" for chunk in chunks])
        store.put_vectors(embedder.name, zip((chunk.id for chunk in chunks), rows, strict=True))

    return work
