"""Draw scenes at any size, vectorised over frames.

Every step up to noise and clipping is linear (bilinear enlarging of the 8 x 8 ink, placing, area resizing),
so a frame is drawn at its final size at once: placing and resizing are one [size, 8] matrix per axis.
The native size of a clip, 128 x 128, is the special case in which the resizing is the identity.

Matrices are rounded to 1/256, so that every matrix product is a sum of integers below 2**24 and comes out the
same on every machine, in whatever order its library adds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.media.digits import INK_LEVELS, DigitBank
from harness.media.resize import resize_matrix
from harness.media.scenes import JITTER_PX, MIDDLE, SIZES_PX, Floats, Ints, Scenes
from harness.stream import Pixels

NATIVE_PX = 128
NOISE = 2.5
"""Standard deviation of the camera noise, in grey levels at the native size."""
TINTS = np.array(
    [(225, 225, 225), (235, 45, 45), (45, 200, 65), (70, 110, 255), (240, 210, 40)], dtype=np.float32
)
"""RGB of COLOURS."""
_PAD = NATIVE_PX // 2
_SLACK_PX = JITTER_PX + 4
_BACKDROP_GRID = 4
_STEPS = 256
_CELL = NATIVE_PX / 3


@lru_cache(maxsize=32)
def _placing(size: int) -> Floats:
    """[sides, NATIVE + 2 PAD, size, 8]: ink rows to output rows, for each side and first native row - PAD."""
    shrink = resize_matrix(NATIVE_PX, size)
    padded = np.zeros((size, NATIVE_PX + 4 * _PAD), dtype=np.float32)
    padded[:, _PAD : _PAD + NATIVE_PX] = shrink
    table = np.empty((len(SIZES_PX), NATIVE_PX + 2 * _PAD, size, 8), dtype=np.float32)
    for index, side in enumerate(SIZES_PX):
        enlarge = resize_matrix(8, side, smooth=True)
        for start in range(table.shape[1]):
            table[index, start] = padded[:, start : start + side] @ enlarge
    rounded: Floats = np.rint(table * _STEPS)
    return rounded


@lru_cache(maxsize=1)
def _noise_pool() -> Floats:
    """Sums of four uniform bytes, scaled to unit variance: near enough to normal, and exact everywhere."""
    total = np.random.default_rng(7).integers(0, 256, size=(4, 1 << 21), dtype=np.int16).sum(axis=0)
    pool: Floats = (total.astype(np.float32) - 510) / np.float32(np.sqrt(4 * (256**2 - 1) / 12))
    return pool


def draw_backdrops(rng: np.random.Generator, n: int) -> Floats:
    """n dark, non-flat backdrops as [n, 3, 4, 4] control values in grey levels."""
    level = rng.integers(20, 51, size=(n, 3, 1, 1))
    return (level + rng.integers(-15, 26, size=(n, 3, _BACKDROP_GRID, _BACKDROP_GRID))).astype(np.float32)


def _backdrop_axis(size: int) -> Floats:
    matrix = resize_matrix(NATIVE_PX, size) @ resize_matrix(_BACKDROP_GRID, NATIVE_PX, smooth=True)
    rounded: Floats = np.rint(matrix * _STEPS)
    return rounded


def _window(cell: int, size: int) -> slice:
    """Output rows (or columns) that a resting digit in grid row ``cell`` can touch."""
    first = (cell * _CELL - _SLACK_PX) * size / NATIVE_PX
    last = ((cell + 1) * _CELL + _SLACK_PX) * size / NATIVE_PX
    return slice(max(0, int(np.floor(first)) - 1), min(size, int(np.ceil(last)) + 1))


def render(
    rng: np.random.Generator,
    scenes: Scenes,
    backdrops: Floats,
    backdrop_of: Ints,
    height: int,
    width: int,
    bank: DigitBank,
    noise: float | Floats = NOISE,
) -> Pixels:
    """Draw n scenes as [n, height, width, 3] uint8; scene i stands before ``backdrops[backdrop_of[i]]``.

    ``noise`` is the standard deviation at the native size, one for all or [n]; resizing averages it down.
    """
    n = len(scenes)
    rows, columns = _backdrop_axis(height), _backdrop_axis(width)
    backdrop = (rows @ backdrops.transpose(1, 0, 2, 3) @ columns.T) / np.float32(_STEPS**2)
    canvas: Floats = backdrop[:, backdrop_of].astype(np.float32, copy=False)
    for cell in range(9):
        moved = np.abs(scenes.shift[:, cell]).max(axis=1) > JITTER_PX + 1
        if cell == MIDDLE and moved.any():
            everything = slice(0, height), slice(0, width)
            _paste(canvas, np.flatnonzero(moved), scenes, cell, everything, bank)
        window = _window(cell // 3, height), _window(cell % 3, width)
        here = (scenes.instance[:, cell] != bank.blank) & ~moved
        _paste(canvas, np.flatnonzero(here), scenes, cell, window, bank)
    _add_noise(rng, canvas, np.broadcast_to(np.asarray(noise, dtype=np.float32), (n,)))
    np.clip(canvas, 0, 255, out=canvas)
    canvas += 0.5
    return np.ascontiguousarray(canvas.astype(np.uint8).transpose(1, 2, 3, 0))


def _paste(
    canvas: Floats, frames: Ints, scenes: Scenes, cell: int, window: tuple[slice, slice], bank: DigitBank
) -> None:
    """Blend one cell's digit into ``canvas`` [3, n, height, width] for the given frames, inside a window."""
    side_index = scenes.side[frames, cell]
    side = np.array(SIZES_PX)[side_index]
    axes = []
    for axis, grid in ((0, cell // 3), (1, cell % 3)):
        centre = (grid + 0.5) * _CELL + scenes.shift[frames, cell, axis]
        start = np.rint(centre - side / 2).astype(np.int64) + _PAD
        axes.append(_placing(canvas.shape[2 + axis])[:, :, window[axis]][side_index, start])
    alpha = axes[0] @ bank.ink[scenes.instance[frames, cell]] @ axes[1].transpose(0, 2, 1)
    alpha /= np.float32(INK_LEVELS * _STEPS**2)
    tint = TINTS[scenes.colour[frames, cell]] * scenes.gain[frames, cell, None]
    for channel in range(3):
        plane = canvas[channel, :, window[0], window[1]]
        under = plane[frames]
        plane[frames] = under + alpha * (tint[:, channel, None, None] - under)


def _add_noise(rng: np.random.Generator, canvas: Floats, noise: Floats) -> None:
    """Add noise from a fixed pool at drawn offsets, scaled as the resizing scales independent pixels."""
    height, width = canvas.shape[2:]
    kept = [float(np.sqrt((resize_matrix(NATIVE_PX, s) ** 2).sum(axis=1).mean())) for s in (height, width)]
    pool = _noise_pool()
    need = 3 * height * width
    if need >= len(pool):
        pool = np.resize(pool, 2 * need)
    offsets = rng.integers(0, len(pool) - need, size=canvas.shape[1])
    for index, offset in enumerate(offsets.tolist()):
        drawn = pool[offset : offset + need].reshape(3, height, width)
        canvas[:, index] += drawn * (noise[index] * kept[0] * kept[1])


def luma(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Brightness [..., H, W] of RGB pixels (ITU-R BT.601)."""
    return (pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)
