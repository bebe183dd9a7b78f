"""A tiny tokenizer, tiny data and a tiny model, made once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import Shape
from training.data import Encoder, Stage, pack
from training.jobs import Material, conversation, job_texts
from training.tokenizer import load_tokenizer, train_tokenizer

SHAPE = Shape(vocabulary=512, hidden=256, layers=2, heads=4, kv_heads=2, feed_forward=256, context=256)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products on several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    texts = [*job_texts(random.Random(1), 30_000), "Привет, мир! Ёлка — 42."]
    train_tokenizer(texts, SHAPE.vocabulary).save(str(path))
    return path


@pytest.fixture(scope="session")
def encoder(tokenizer_path: Path) -> Encoder:
    return Encoder(load_tokenizer(tokenizer_path))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for index, width in enumerate((64, 128)):
        rng = random.Random(index)
        prose = itertools.cycle([encoder.ids("The cat sat on the mat. " * 5), encoder.ids("Кот спит дома. " * 4)])
        stage = Stage(width, 4096, 0.3, 0.0)
        ids, weights = pack(encoder, prose, lambda r=rng: conversation(r, Material()), stage, rng)
        np.save(folder / f"ids-{index}.npy", ids)
        np.save(folder / f"weights-{index}.npy", weights)
    return folder
