"""A planted model copies before it has learnt anything."""

from __future__ import annotations

import random

import pytest
import torch

from training.config import Shape
from training.drills import repetition
from training.induction import plant
from training.model import Pocket

WORDS = list(range(4, 1024))


def share_copied(model: Pocket) -> float:
    """Share of the tokens that can be looked up which the model puts first."""
    rows = [repetition(random.Random(seed), WORDS, 129) for seed in range(4)]
    ids = torch.tensor([ids for ids, _ in rows])
    counts = torch.tensor([weights for _, weights in rows])[:, 1:] > 0
    with torch.no_grad():
        hits = (model(ids[:, :-1]).argmax(-1) == ids[:, 1:]) & counts
    return float(hits.sum() / counts.sum())


def test_a_planted_model_copies_and_a_fresh_one_does_not() -> None:
    torch.manual_seed(1)
    model = Pocket(Shape(vocabulary=1024, layers=2, feed_forward=256, rope_theta=100_000.0))
    assert share_copied(model) < 0.05
    plant(model, 1)
    assert share_copied(model) > 0.7


def test_a_shape_without_room_for_the_circuit_is_refused() -> None:
    for shape in (Shape(layers=1, feed_forward=256), Shape(layers=2, kv_heads=2, feed_forward=256)):
        with pytest.raises(ValueError, match="two layers"):
            plant(Pocket(shape), 1)
