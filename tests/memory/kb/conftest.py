from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory.embed import BackgroundEmbedder
from memory.kb import KnowledgeBase, KnowledgeSettings
from memory.store import Store
from tests.memory.kb.kb_samples import CountingEmbedder

Opener = Callable[..., KnowledgeBase]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def open_base(tmp_path: Path, embedder: CountingEmbedder) -> Iterator[Opener]:
    opened: list[KnowledgeBase] = []

    def open_one(
        model: CountingEmbedder | None = None,
        index: str = "exact",
        folder: Path | None = None,
        read_only: bool = False,
    ) -> KnowledgeBase:
        base = KnowledgeBase(
            folder or tmp_path / "data",
            KnowledgeSettings(index=index),
            embedder=BackgroundEmbedder(lambda: model or embedder),
            read_only=read_only,
        )
        opened.append(base)
        return base

    yield open_one
    for base in opened:
        base.close()


@pytest.fixture
def base(open_base: Opener) -> KnowledgeBase:
    return open_base()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder
