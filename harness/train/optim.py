"""Optimisers of the small models: Muon on block matrices, AdamW on the rest.

Muon: K. Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks": momentum whose
update is orthogonalised by five Newton-Schulz iterations. ``torch.optim.Muon`` runs matrix by matrix in
bfloat16; here matrices of one shape run as one batch in float32, which is what small matrices on a CPU need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum over parameters of two dimensions or more; ``lr`` scales an
    update of unit spectral norm
    times ``sqrt(max(1, rows / columns))``."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if closure is not None:
            raise ValueError("Muon takes no closure; compute the gradients before step()")
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(tuple(p.shape), []).append(p)
            for params in by_shape.values():
                self._update(params, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        grads = torch.stack([p.grad for p in params if p.grad is not None])
        buffers = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in params]
        velocity = torch.stack(buffers).mul_(momentum).add_(grads)
        for buffer, new in zip(buffers, velocity, strict=True):
            buffer.copy_(new)
        update = orthogonalised(grads.add(velocity, alpha=momentum).flatten(2))
        rows, columns = update.shape[1:]
        scale = max(1.0, rows / columns) ** 0.5
        for p, u in zip(params, update, strict=True):
            p.mul_(1.0 - lr * weight_decay).add_(u.view_as(p), alpha=-lr * scale)


def orthogonalised(batch_nrc: Tensor, iterations: int = 5) -> Tensor:
    """Newton-Schulz: every matrix [r, c] of a batch to (about) its nearest orthogonal one."""
    flip = batch_nrc.shape[1] > batch_nrc.shape[2]
    x = batch_nrc.transpose(1, 2) if flip else batch_nrc
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.transpose(1, 2)
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return cast("Tensor", x.transpose(1, 2) if flip else x)


def split_parameters(model: nn.Module, embeddings: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Trainable parameters as (matrices for Muon, the rest for AdamW); embeddings go to the rest."""
    outside = {id(p) for p in embeddings}
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for p in model.parameters():
        if p.requires_grad:
            (matrices if p.ndim >= 2 and id(p) not in outside and min(p.shape) > 1 else rest).append(p)
    return matrices, rest


def schedule(step: int, steps: int, warmup: int, decay: float) -> float:
    """Learning-rate factor: linear warm-up, constant, linear to 0 over the last ``decay`` share of the
    steps."""
    if step < warmup:
        return (step + 1) / warmup
    start = steps * (1.0 - decay)
    return 1.0 if step < start else max(0.0, (steps - step) / (steps - start))
