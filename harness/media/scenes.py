"""What a scene shows: a 3 x 3 grid of cells, four coloured digits, white distractors, and empty cells.

A scene is the state of one second. Letters in shapes: n scenes, 9 cells in reading order, 4 colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.media.digits import EMPTY, DigitBank, Split, digit_bank
from harness.stream import Pixels

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

CELLS = ("topleft", "top", "topright", "left", "middle", "right", "bottomleft", "bottom", "bottomright")
MIDDLE = CELLS.index("middle")
CORNERS = tuple(CELLS.index(name) for name in ("topleft", "topright", "bottomleft", "bottomright"))
COLOURS = ("white", "red", "green", "blue", "yellow")
"""Index 0 is the distractors' colour and stands for empty cells too."""
JITTER_PX = 4
"""Largest shift of a digit from its cell's centre, in native pixels, along each axis."""
SIZES_PX = (28, 31, 34)
"""Sides of a drawn digit, in native pixels."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """n scenes: what is in each cell, and how it is drawn.

    digit [n, 9] 0..9 or EMPTY; colour [n, 9] index into COLOURS; instance [n, 9] index into the split's
    bank; shift [n, 9, 2] (y, x) in native pixels from the cell's centre; side [n, 9] index into SIZES_PX;
    gain [n, 9].
    """

    digit: Ints
    colour: Ints
    instance: Ints
    shift: Ints
    side: Ints
    gain: Floats

    def __getitem__(self, index: slice | Ints) -> Scenes:
        return Scenes(
            self.digit[index],
            self.colour[index],
            self.instance[index],
            self.shift[index],
            self.side[index],
            self.gain[index],
        )

    def __len__(self) -> int:
        return len(self.digit)


def draw_scenes(
    rng: np.random.Generator, bank: DigitBank, present: npt.NDArray[np.bool_], corners_only: bool = False
) -> Scenes:
    """Draw n independent scenes; ``present`` [n, 4] says which colours are shown.

    Each present colour takes a cell of its own, 2 to 4 white distractors take others (``corners_only``: they
    stay in the corners and no colour is placed), the rest is empty. Digits are uniform and independent.
    """
    n = len(present)
    rows = np.arange(n)[:, None]
    colour = np.full((n, 9), -1, dtype=np.int64)
    if corners_only:
        white_cells = np.array(CORNERS)[np.argsort(rng.random((n, 4)), axis=1)]
    else:
        order = np.argsort(rng.random((n, 9)), axis=1)
        colour[rows, order[:, :4]] = np.where(present, np.arange(1, 5), -1)
        white_cells = order[:, 4:8]
    shown = np.arange(4) < rng.integers(2, 5, size=(n, 1))
    colour[rows, white_cells] = np.where(shown, 0, -1)
    digit = np.where(colour < 0, EMPTY, rng.integers(0, 10, size=(n, 9)))
    return dress(rng, bank, digit, np.maximum(colour, 0))


def dress(rng: np.random.Generator, bank: DigitBank, digit: Ints, colour: Ints) -> Scenes:
    """Add to a state what is free in its look: instance, shift, side and gain."""
    shape = digit.shape
    return Scenes(
        digit=digit,
        colour=colour,
        instance=bank.draw(rng, digit),
        shift=rng.integers(-JITTER_PX, JITTER_PX + 1, size=(*shape, 2)),
        side=rng.integers(0, len(SIZES_PX), size=shape),
        gain=rng.uniform(0.7, 1.0, size=shape).astype(np.float32),
    )


def pretraining_batch(
    rng: np.random.Generator, count: int, size: int, split: Split = "train"
) -> tuple[Pixels, Ints, Ints]:
    """Single scenes for pretraining a vision encoder on what is in each cell; train instances unless told.

    Returns pixels [count, size, size, 3] uint8, digits [count, 9] (0..9, 10 = empty) and colours [count, 9]
    (index into COLOURS; 0 for white and for empty). One scene in eight has a digit on its way between two
    cells; it is labelled in the cell that holds its centre.
    """
    from harness.media.motion import halfway_scenes
    from harness.media.render import draw_backdrops, render

    bank = digit_bank(split)
    moving = count // 8
    still = draw_scenes(rng, bank, rng.random((count - moving, 4)) < 0.8)
    scenes, digit, colour = halfway_scenes(rng, bank, moving, still)
    backdrops = draw_backdrops(rng, count)
    pixels = render(rng, scenes, backdrops, np.arange(count), size, size, bank)
    return pixels, digit, colour
