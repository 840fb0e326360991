"""Learned pooling of a frame's tokens to a few vectors, and their place in a stream.

Shapes: F frames, N tokens of each, k pooled vectors, d width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from harness.fusion import Step, cached_keys
from harness.layout import Kind
from harness.parts.frames import frame_starts, per_frame
from harness.windows import WindowKeys

POOLED = "pooled_kv"
"""Name of the state buffer, of the carried vectors [F k, d] and of their rotary positions."""


class ScoredPooling(nn.Module):
    """k vectors per frame, each a mean weighted by its own learned importance of the tokens, then projected.

    ``p_j = W sum_n softmax_n(s_j . y_n) y_n``. ``W`` starts as the identity and the scores near zero, so that
    a pooled vector starts near the frame's mean in the space of its tokens.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.score = nn.Linear(width, count, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.score.weight, std=width**-0.5)
        nn.init.eye_(self.project.weight)

    def forward(self, y_fnd: Tensor) -> Tensor:
        """[F, N, d] → [F, k, d]."""
        weights_fkn = torch.softmax(cast("Tensor", self.score(y_fnd)), dim=1).transpose(1, 2)
        return cast("Tensor", self.project(weights_fkn @ y_fnd))

    def announce(self, step: Step) -> WindowKeys:
        """Pool the chunk's frames and carry the vectors at their frames' positions.

        Returns the attributes of the keys: the cached ones, then the chunk's.
        """
        images = step.layout.images
        starts, lengths = frame_starts(images)
        vectors = per_frame(self, images.tokens, lengths)
        step.carried[POOLED] = torch.cat((images.tokens[:0], *vectors))
        rows = np.repeat(starts, self.count)
        step.ropes[POOLED] = step.rope_at(images.position[rows])
        if step.state is None:
            return WindowKeys(images.sample[rows], images.window[rows], images.frame[rows], 0 * rows)
        buffer = step.state.extra[POOLED]
        buffer.describe(np.full(len(rows), int(Kind.GIST)), images.window[rows], images.frame[rows])
        return cached_keys(buffer)
