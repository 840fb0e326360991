"""Which frames of a clip are shown: distinct seconds, spread over the clip, always with the last one."""

from __future__ import annotations

import numpy as np

from harness.errors import UsageError

CLIP_SECONDS = 16
CLIP_FPS = 4
CLIP_FRAMES = CLIP_SECONDS * CLIP_FPS
SAMPLER = "stratified-seconds-1"
"""Name and version of the sampler, recorded with every sample."""


def check_frames(frames: int) -> None:
    """Raise where a clip cannot show that many frames."""
    if not 1 <= frames <= CLIP_FRAMES:
        raise UsageError(
            f"{frames} frames are asked of a clip that has {CLIP_FRAMES}; ask for 1 to {CLIP_FRAMES}"
        )


def sample_frames(rng: np.random.Generator, frames: int) -> list[int]:
    """Indices of ``frames`` distinct video frames in order; the last one lies in the clip's last second.

    Up to 16 frames: the seconds before the last are cut into strata, one second is drawn in each, and one of
    its 4 video frames. Above, every second is shown, by as equal a number of its video frames as possible.
    """
    check_frames(frames)
    if frames <= CLIP_SECONDS:
        edges = np.linspace(0, CLIP_SECONDS - 1, frames)
        low, high = np.ceil(edges[:-1]), np.ceil(edges[1:])
        drawn = np.floor(low + rng.random(frames - 1) * (high - low)).astype(np.int64)
        seconds = [*drawn.tolist(), CLIP_SECONDS - 1]
        within = rng.integers(0, CLIP_FPS, size=frames).tolist()
        return [second * CLIP_FPS + frame for second, frame in zip(seconds, within, strict=True)]
    share, rest = divmod(frames, CLIP_SECONDS)
    more = set(rng.permutation(CLIP_SECONDS)[:rest].tolist())
    indices: list[int] = []
    for second in range(CLIP_SECONDS):
        within = np.sort(rng.permutation(CLIP_FPS)[: share + (second in more)])
        indices.extend((second * CLIP_FPS + within).tolist())
    return indices
