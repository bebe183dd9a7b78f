"""Training is a function of its seed: interrupted or not, the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.config import Shape, TrainSettings
from training.convert import load_checkpoint, write_hugging_face
from training.model import Pocket
from training.muon import orthogonal
from training.train import MICRO_TOKENS, Rows, Trainer, TrainingError, learning_rate_factor, warm_start

SHAPE = Shape(vocabulary=512, hidden=64, layers=2, heads=4, kv_heads=2, feed_forward=128, context=256)
SETTINGS = TrainSettings(seed=3, tokens=1536, batch_tokens=256, save_every=100)


def weights_after(data: Path, out: Path, parts: list[int | None], workers: int = 1) -> dict[str, torch.Tensor]:
    for steps in parts:
        trainer = Trainer(SHAPE, SETTINGS, Rows(data, SETTINGS.seed), out, "cpu", workers)
        if (out / "checkpoint.pt").exists():
            trainer.resume()
        trainer.run(steps)
    return trainer.model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_equals_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    whole = weights_after(data, tmp_path / "whole", [None])
    again = weights_after(data, tmp_path / "again", [None])
    parts = weights_after(data, tmp_path / "parts", [3, None])
    assert same(whole, again)
    assert same(whole, parts)


def test_workers_compute_the_same_gradients(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MICRO_TOKENS, "cpu", 128)
    alone = Trainer(SHAPE, SETTINGS, Rows(data, 3), tmp_path, "cpu")
    pair = Trainer(SHAPE, SETTINGS, Rows(data, 3), tmp_path, "cpu", workers=2)
    losses = alone.step(), pair.step()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, weight in alone.model.state_dict().items():
        torch.testing.assert_close(pair.model.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


def test_the_loss_goes_down(data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(seed=1, tokens=20_000, batch_tokens=512)
    trainer = Trainer(SHAPE, settings, Rows(data, 1), tmp_path, "cpu")
    losses = [trainer.step() for _ in range(20)]
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])


def test_warm_start_begins_with_released_weights(data: Path, tmp_path: Path, tokenizer_path: Path) -> None:
    weights_after(data, tmp_path / "run", [2])
    released = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    write_hugging_face(released, tokenizer_path, tmp_path / "hf")
    fresh = Pocket(SHAPE)
    warm_start(fresh, tmp_path / "hf")
    assert same(released.state_dict(), fresh.state_dict())
    with pytest.raises(TrainingError, match="does not fit"):
        warm_start(Pocket(Shape(vocabulary=512, hidden=64, layers=1, feed_forward=128)), tmp_path / "hf")


def test_stages_share_the_tokens_as_their_sizes_do(data: Path) -> None:
    rows = Rows(data, 1)
    assert [rows.stage_at(share) for share in (0.0, 0.49, 0.5, 0.99, 1.0)] == [0, 0, 1, 1, 1]
    (data / "stages.json").write_text("[100, 300]", encoding="utf-8")
    try:
        rows = Rows(data, 1)
    finally:
        (data / "stages.json").unlink()
    assert [rows.stage_at(share) for share in (0.24, 0.25)] == [0, 1]


def test_no_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training\.data"):
        Rows(tmp_path, 1)


def test_the_schedule_warms_up_stays_and_ends_at_zero() -> None:
    settings = TrainSettings(warmup_share=0.1, cooldown_share=0.4)
    assert learning_rate_factor(0.05, settings) == pytest.approx(0.5)
    assert learning_rate_factor(0.3, settings) == 1.0
    assert learning_rate_factor(0.8, settings) == pytest.approx(0.5)
    assert learning_rate_factor(1.0, settings) == 0.0


def test_muon_directions_are_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((1, 32, 64), (2, 64, 32)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(singular.min()) > 0.3
        assert float(singular.max()) < 1.5


def test_a_shape_that_cannot_run_is_refused() -> None:
    with pytest.raises(ValueError, match="must divide"):
        Shape(hidden=256, heads=3)
    assert not Shape(feed_forward=700).k_quants_apply
    assert Shape().k_quants_apply
