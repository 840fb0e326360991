"""Running a module on every frame's tokens, frames of equal size together.

Shapes: M image tokens of all frames, F frames of one size, N tokens of each, L results per frame, d width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from harness.attention import Index, to_device
from harness.layout import Images, runs


def per_frame(module: Callable[[Tensor], Tensor], tokens_md: Tensor, lengths: Index) -> list[Tensor]:
    """``module`` ([F, N, d] → [F, L, d]) on frames of the given lengths; one [L, d] per frame, in order."""
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(lengths) else lengths
    out: dict[int, Tensor] = {}
    for length in np.unique(lengths).tolist():
        which = np.flatnonzero(lengths == length)
        index = (starts[which][:, None] + np.arange(length)).reshape(-1)
        frames = tokens_md.index_select(0, to_device(index, tokens_md.device)).view(len(which), length, -1)
        out.update(zip(which.tolist(), module(frames), strict=True))
    return [out[number] for number in range(len(lengths))]


def frame_starts(images: Images) -> tuple[Index, Index]:
    """First row and length of every frame in an image bank."""
    bounds = np.array(runs(images.sample, images.frame), dtype=np.int64).reshape(-1, 2)
    return bounds[:, 0], bounds[:, 1] - bounds[:, 0]
