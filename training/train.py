"""Train the pocket model: resumable, deterministic given seed and device, on a CPU or a CUDA GPU.

Progress is counted in tokens, so a run may be stopped, paused or shared with other work and still be the same run. A
checkpoint holds weights, optimizer state and the position in the data; `--tokens` may be changed at a resume, which
moves the cool-down. `--warm-start` begins from the weights of a released model instead of fresh ones.

    python -m training.train --data build/pocket/data --out build/pocket/run
    python -m training.train --data build/pocket/data --out build/pocket/run            # the same again: resumes
    python -m training.train --data D --out NEW --warm-start build/pocket/hf            # continue from a release
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.config import Shape, TrainSettings, read_shape, to_json
from training.data import WEIGHT_SCALE
from training.induction import plant
from training.model import Pocket
from training.muon import Muon

CHECKPOINT = "checkpoint.pt"
MICRO_TOKENS = {"cpu": 2048, "cuda": 32768}  # what fits a CPU's cache is fastest there


class TrainingError(Exception):
    """Training cannot start; the message says what to change."""


@dataclass(slots=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0
    rows_taken: list[int] = dataclasses.field(default_factory=list)


class Rows:
    """The packed stages, read from disk as needed, in one random order each."""

    def __init__(self, folder: Path, seed: int) -> None:
        paths = sorted(folder.glob("ids-*.npy"))
        if not paths:
            raise TrainingError(f"{folder} holds no ids-*.npy; run `python -m training.data --out {folder}` first")
        self.ids = [np.load(path, mmap_mode="r") for path in paths]
        self.weights = [np.load(path.with_name(path.name.replace("ids", "weights")), mmap_mode="r") for path in paths]
        sizes = folder / "stages.json"
        parts = json.loads(sizes.read_text(encoding="utf-8")) if sizes.exists() else [1] * len(paths)
        self.ends = [sum(parts[: index + 1]) / sum(parts) for index in range(len(parts))]
        generator = np.random.default_rng(seed)
        self.orders = [generator.permutation(len(ids)) for ids in self.ids]

    def stage_at(self, share: float) -> int:
        """The stage that is due after a share of the run's tokens."""
        return next((index for index, end in enumerate(self.ends) if share < end), len(self.ids) - 1)

    def take(self, stage: int, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows ``start .. start + count`` of a stage's order, beginning again at its end."""
        order = self.orders[stage]
        chosen = order[np.arange(start, start + count) % len(order)]
        ids = torch.from_numpy(self.ids[stage][chosen].astype(np.int64))
        return ids, torch.from_numpy(self.weights[stage][chosen].astype(np.float32) / WEIGHT_SCALE)


def learning_rate_factor(progress: float, settings: TrainSettings) -> float:
    """Factor on the learning rates after a share ``progress`` of all tokens: warm-up, flat, linear to zero."""
    if progress < settings.warmup_share:
        return max(progress / settings.warmup_share, 0.02)
    return max(0.0, min(1.0, (1.0 - progress) / settings.cooldown_share)) if settings.cooldown_share else 1.0


def make_optimizers(model: Pocket, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers, AdamW for embeddings and gains."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    embeddings = [p for name, p in model.named_parameters() if "embed" in name]
    gains = [p for p in model.parameters() if p.ndim == 1]
    adam = torch.optim.AdamW(
        [{"params": embeddings, "lr": settings.other_lr}, {"params": gains, "lr": settings.other_lr}],
        betas=(0.9, 0.95),
        eps=1e-10,
        weight_decay=0.0,
    )
    optimizers = [Muon(matrices, settings.matrix_lr, settings.momentum, settings.weight_decay), adam]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return optimizers


def micro_batches(ids: torch.Tensor, weights: torch.Tensor, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pieces of a batch with at most ``size`` tokens each."""
    rows = max(1, size // (ids.shape[1] - 1))
    for start in range(0, len(ids), rows):
        yield ids[start : start + rows], weights[start : start + rows]


class Trainer:
    """A training run and its checkpoint."""

    def __init__(
        self, shape: Shape, settings: TrainSettings, rows: Rows, out: Path, device: str, workers: int = 1
    ) -> None:
        torch.manual_seed(settings.seed)
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory first would only make reads of it repeatable, which there are none of; it costs a fifth.
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.settings, self.rows, self.out, self.device = settings, rows, out, device
        self.model = Pocket(shape)
        if settings.plant_induction:
            plant(self.model, settings.seed)
        self.model.to(device)
        self.replicas = [Pocket(shape) for _ in range(workers)] if workers > 1 and device == "cpu" else []
        self.optimizers = make_optimizers(self.model, settings)
        self.progress = Progress(rows_taken=[0] * len(rows.ids))
        self.recent: list[float] = []

    def step(self) -> float:
        """One update.

        Returns:
            The mean weighted loss of the batch, nats a token.
        """
        settings, progress = self.settings, self.progress
        share = progress.tokens / settings.tokens
        stage = self.rows.stage_at(share)
        width = self.rows.ids[stage].shape[1] - 1
        count = max(1, settings.batch_tokens // width)
        ids, weights = self.rows.take(stage, progress.rows_taken[stage], count)
        total = weights[:, 1:].sum().to(self.device)
        parts = list(micro_batches(ids, weights, MICRO_TOKENS[self.device]))
        loss_sum = self.gradients(parts, total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.grad_clip)
        factor = learning_rate_factor(share, settings)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.tokens += count * width
        progress.rows_taken[stage] += count
        return loss_sum / float(total)

    def gradients(self, parts: list[tuple[torch.Tensor, torch.Tensor]], total: torch.Tensor) -> float:
        """Add the gradients of all micro-batches to the model's.

        With several workers each has a copy of the model, a fixed share of the micro-batches and one thread. On a
        shared machine that is more than twice as fast as several threads inside every product, which all wait for
        the slowest.

        Returns:
            The weighted sum of losses.
        """
        if not self.replicas:
            return self.share_of_gradients(self.model, parts, total)
        for replica in self.replicas:
            for copy, parameter in zip(replica.parameters(), self.model.parameters(), strict=True):
                copy.data, copy.grad = parameter.data, None
        shares = [parts[index :: len(self.replicas)] for index in range(len(self.replicas))]
        with ThreadPoolExecutor(len(self.replicas)) as pool:
            losses = list(pool.map(self.share_of_gradients, self.replicas, shares, [total] * len(shares)))
        for parameter, *copies in zip(self.model.parameters(), *(r.parameters() for r in self.replicas), strict=True):
            gradients = [copy.grad for copy in copies if copy.grad is not None]
            parameter.grad = gradients[0] if len(gradients) == 1 else torch.stack(gradients).sum(0)
        return sum(losses)

    def share_of_gradients(
        self, model: Pocket, parts: list[tuple[torch.Tensor, torch.Tensor]], total: torch.Tensor
    ) -> float:
        """Backpropagate some micro-batches through one model; returns the weighted sum of losses."""
        if model is not self.model:
            torch.set_num_threads(1)
        loss_sum = 0.0
        for part, part_weights in parts:
            part, part_weights = part.to(self.device), part_weights.to(self.device)
            with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.settings.bf16):
                loss, _ = model.loss(part[:, :-1], part[:, 1:], part_weights[:, 1:])
            (loss / total).backward()
            loss_sum += float(loss.detach())
        return loss_sum

    def run(self, steps: int | None = None) -> None:
        """Train until the tokens are used up, or for ``steps`` updates.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        used = time.process_time() - self.progress.cpu_seconds
        done = 0
        while self.progress.tokens < self.settings.tokens and (steps is None or done < steps):
            loss = self.step()
            done += 1
            self.progress.cpu_seconds = time.process_time() - used
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at step {self.progress.step}; lower --matrix-lr")
            self.recent = [*self.recent[-49:], loss]
            if self.progress.step % self.settings.save_every == 0:
                self.save()
                self.report()
        self.save()

    def report(self) -> None:
        """One line of progress on the terminal and in ``log.jsonl``."""
        progress = self.progress
        mean = sum(self.recent) / len(self.recent)
        line = {
            "step": progress.step,
            "tokens": progress.tokens,
            "loss": round(mean, 4),
            "lr": round(learning_rate_factor(progress.tokens / self.settings.tokens, self.settings), 3),
            "cpu_seconds": round(progress.cpu_seconds),
            "time": time.strftime("%H:%M:%S", time.gmtime()),
        }
        print(json.dumps(line), flush=True)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write the checkpoint atomically."""
        self.out.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {
            "shape": to_json(self.model.shape),
            "settings": to_json(self.settings),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": dataclasses.asdict(self.progress),
        }
        partial = self.out / (CHECKPOINT + ".part")
        torch.save(state, partial)
        partial.replace(self.out / CHECKPOINT)

    def resume(self) -> None:
        """Take up where the checkpoint in ``out`` stopped."""
        state = torch.load(self.out / CHECKPOINT, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            full = [group["full_lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(stored)
            for group, lr in zip(optimizer.param_groups, full, strict=True):
                group["full_lr"] = lr
        self.progress = Progress(**state["progress"])


def warm_start(model: Pocket, folder: Path) -> None:
    """Load the weights of a released model (``model.safetensors``).

    Raises:
        TrainingError: its shape is another one.
    """
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight", None)
    try:
        model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    except RuntimeError as error:
        raise TrainingError(f"{folder} does not fit the shape given: {error}") from error


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks: giving each tensor back to the system costs a third of the time on a CPU."""
    if sys.platform.startswith("linux"):
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # another C library: only slower
            return
        libc.mallopt(-3, 32 * 1024 * 1024)  # M_MMAP_THRESHOLD, its largest value
        libc.mallopt(-1, 2_000_000_000)  # M_TRIM_THRESHOLD


def read_arguments() -> argparse.Namespace:
    """Every field of the settings and of the shape is a flag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/pocket/data"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket/run"))
    parser.add_argument("--warm-start", type=Path, help="folder of a released model in safetensors form")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="copies of the model, one thread each (CPU only)")
    parser.add_argument("--steps", type=int, help="stop after this many updates (to resume later)")
    for field in (*dataclasses.fields(TrainSettings), *dataclasses.fields(Shape)):
        flag = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(flag, action="store_true", default=field.default)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)
    return parser.parse_args()


def main() -> None:
    """Train or resume."""
    arguments = read_arguments()
    values = vars(arguments)
    settings = TrainSettings(**{field.name: values[field.name] for field in dataclasses.fields(TrainSettings)})
    shape = Shape(**{field.name: values[field.name] for field in dataclasses.fields(Shape)})
    if arguments.warm_start:
        shape = read_shape(arguments.warm_start / "shape.json")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        trainer = Trainer(
            shape, settings, Rows(arguments.data, settings.seed), arguments.out, arguments.device, arguments.workers
        )
        if (arguments.out / CHECKPOINT).exists():
            trainer.resume()
        elif arguments.warm_start:
            warm_start(trainer.model, arguments.warm_start)
        trainer.run(arguments.steps)
    except TrainingError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
