"""The connector: encoder features and a frame's time → tokens of the model's width. The same for every
method."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

_FAST_PERIOD_S, _FAST, _SLOW = 32.0, 16, 8


class Connector(nn.Module):
    """``Linear(features) + Linear(time)``: [N, D] and a time in seconds → [N, d].

    The time is rounded down to whole ticks, as Qwen2.5-VL's absolute time ids are (arXiv 2502.13923,
    section 2.1.2), so that frames of one tick carry the same time.
    """

    def __init__(self, features: int, width: int, tick_s: float = 1.0) -> None:
        super().__init__()
        self.tick_s = tick_s
        self.project = nn.Linear(features, width)
        self.time = nn.Linear(2 * (_FAST + _SLOW), width, bias=False)

    def forward(self, features_fnd: Tensor, times_s: list[float]) -> Tensor:
        """[F, N, D] and F times → [F, N, d]."""
        time = time_features([math.floor(t / self.tick_s) * self.tick_s for t in times_s]).to(features_fnd)
        tokens = cast("Tensor", self.project(features_fnd))
        return tokens + cast("Tensor", self.time(time))[:, None]


def time_features(times_s: list[float]) -> Tensor:
    """Sines and cosines [F, 48]: harmonics of 32 s, which tell whole seconds apart, and slow ones up to
    hours."""
    fast = torch.arange(1, _FAST + 1) / _FAST_PERIOD_S
    slow = 1.0 / (2 * _FAST_PERIOD_S * 2.0 ** torch.arange(_SLOW))
    turns = torch.tensor(times_s, dtype=torch.float64)[:, None] * torch.cat((fast, slow)).double()
    angles = (2 * math.pi * turns).float()
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
