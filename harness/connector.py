"""The connector: encoder features and a frame's time → tokens of the model's width. The same for every
method."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from harness.attention import to_device

_FAST_PERIOD_S, _FAST, _SLOW = 32.0, 16, 8
TIME_FEATURES = 2 * (_FAST + _SLOW)
"""How many numbers a time becomes."""


class Connector(nn.Module):
    """``Linear(features) + Linear(time)``: [N, D] and a time in seconds → [N, d].

    The time is rounded down to whole ticks, as Qwen2.5-VL's absolute time ids are (arXiv 2502.13923,
    section 2.1.2), so that frames of one tick carry the same time.
    """

    def __init__(self, features: int, width: int, tick_s: float = 1.0) -> None:
        super().__init__()
        self.tick_s = tick_s
        self.project = nn.Linear(features, width)
        self.time = nn.Linear(TIME_FEATURES, width, bias=False)

    def forward(self, features_fnd: Tensor, times_s: list[float]) -> Tensor:
        """[F, N, D] and F times → [F, N, d]."""
        ticks = time_features([math.floor(t / self.tick_s) * self.tick_s for t in times_s])
        time = to_device(ticks, features_fnd.device).to(features_fnd.dtype)
        tokens = cast("Tensor", self.project(features_fnd))
        return tokens + cast("Tensor", self.time(time))[:, None]


def time_features(times_s: list[float]) -> npt.NDArray[np.float32]:
    """Sines and cosines [F, 48]: harmonics of 32 s, which tell whole seconds apart, and slow ones up to
    hours."""
    fast = np.arange(1, _FAST + 1, dtype=np.float32) / np.float32(_FAST_PERIOD_S)
    slow = 1.0 / (2 * _FAST_PERIOD_S * 2.0 ** np.arange(_SLOW, dtype=np.float32))
    turns = np.array(times_s, dtype=np.float64)[:, None] * np.concatenate((fast, slow)).astype(np.float64)
    angles = (2 * math.pi * turns).astype(np.float32)
    return np.concatenate((np.sin(angles), np.cos(angles)), axis=-1).astype(np.float32)
