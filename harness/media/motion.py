"""A digit that travels from a neighbouring cell to the middle of the scene."""

from __future__ import annotations

import numpy as np

from harness.media.digits import DigitBank
from harness.media.scenes import CELLS, MIDDLE, Ints, Scenes, draw_scenes

DIRECTIONS = ("left", "right", "up", "down")
STARTS = tuple(CELLS.index(name) for name in ("right", "left", "bottom", "top"))
"""The cell from which a digit comes that moves in each direction."""
_AWAY = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
TRAVEL_PX = 43
"""One cell, in native pixels."""


def approach(direction: Ints, frames: Ints, last_frame: int) -> Ints:
    """Shift (y, x) [..., 2] from the middle at each frame; zero from ``last_frame`` on.

    The digit speeds up on the way, so it spends more than half of the clip in the cell where it started.
    """
    progress = np.clip(frames / last_frame, 0, 1) ** 1.5
    distance = np.rint(TRAVEL_PX * (1 - progress)).astype(np.int64)
    return _AWAY[direction] * distance[..., None]


def moving_scenes(rng: np.random.Generator, bank: DigitBank, n: int) -> Scenes:
    """n scenes with one coloured digit in the middle and white ones in the corners only.

    The corners alone, because a distractor beside the middle would rule out a direction of arrival.
    """
    scenes = draw_scenes(rng, bank, np.zeros((n, 4), dtype=bool), corners_only=True)
    scenes.digit[:, MIDDLE] = rng.integers(0, 10, size=n)
    scenes.colour[:, MIDDLE] = rng.integers(1, 5, size=n)
    scenes.instance[:, MIDDLE] = bank.draw(rng, scenes.digit[:, MIDDLE])
    return scenes


def halfway_scenes(
    rng: np.random.Generator, bank: DigitBank, n: int, still: Scenes
) -> tuple[Scenes, Ints, Ints]:
    """``still`` followed by n scenes with a digit on its way, labelled in the cell that holds its centre."""
    moving = moving_scenes(rng, bank, n)
    direction = rng.integers(0, 4, size=n)
    shift = approach(direction, rng.integers(0, 61, size=n), 60)
    moving.shift[:, MIDDLE] += shift
    start = np.array(STARTS)[direction]
    home = np.where(np.abs(moving.shift[:, MIDDLE]).max(axis=1) > TRAVEL_PX / 2, start, MIDDLE)
    labels = []
    for name, empty in (("digit", 10), ("colour", 0)):
        values = getattr(moving, name).copy()
        mover = values[:, MIDDLE].copy()
        values[:, MIDDLE] = empty
        values[np.arange(n), home] = mover
        labels.append(np.concatenate([getattr(still, name), values]))
    parts = (
        np.concatenate([getattr(still, name), getattr(moving, name)])
        for name in ("digit", "colour", "instance", "shift", "side", "gain")
    )
    return Scenes(*parts), labels[0], labels[1]
