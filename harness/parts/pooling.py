"""Learned pooling of a frame's tokens to a few vectors.

Shapes: F frames, N tokens of each, k pooled vectors, d width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class ScoredPooling(nn.Module):
    """k vectors per frame, each a mean weighted by its own learned importance of the tokens, then projected.

    ``p_j = W sum_n softmax_n(s_j . y_n) y_n``. ``W`` starts as the identity and the scores near zero, so that
    a pooled vector starts near the frame's mean in the space of its tokens.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, count, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.score.weight, std=width**-0.5)
        nn.init.eye_(self.project.weight)

    def forward(self, y_fnd: Tensor) -> Tensor:
        """[F, N, d] → [F, k, d]."""
        weights_fkn = torch.softmax(cast("Tensor", self.score(y_fnd)), dim=1).transpose(1, 2)
        return cast("Tensor", self.project(weights_fkn @ y_fnd))
