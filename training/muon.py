"""Muon (Jordan et al. 2024): momentum whose direction is made orthogonal, for the matrices inside the layers.

Each update is replaced by the nearest semi-orthogonal matrix, found by five Newton-Schulz steps; matrices of one shape
are stacked so that small models spend their time in few large products. Embeddings and gains use AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Quintic coefficients chosen for speed of convergence rather than exactness (Jordan et al. 2024).
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonal(batch: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly (singular values within about 0.7 and 1.2).

    Args:
        batch: (count, rows, columns).
        steps: Newton-Schulz iterations.
    """
    tall = batch.shape[1] > batch.shape[2]
    x = batch.transpose(1, 2) if tall else batch
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every matrix.

        Raises:
            ValueError: a closure was given; Muon never evaluates the loss itself.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                directions = [self.direction(parameter, group["momentum"]) for parameter in parameters]
                updates = orthogonal(torch.stack(directions))
                # Keeps the size of an update independent of the matrix's proportions.
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov momentum of one parameter's gradient."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(buffer, momentum)
