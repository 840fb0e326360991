"""Clips of 16 seconds: what they show in every second, in three styles.

``changing``: every second is an independent scene. ``dialogue``: the same, and after every frame a turn of
text asks and answers something about it. ``moving``: one coloured digit comes from a neighbouring cell and is
in the middle in the last second; nothing else moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.media.digits import EMPTY, DigitBank
from harness.media.motion import approach, moving_scenes
from harness.media.render import draw_backdrops
from harness.media.sampling import CLIP_FPS, CLIP_SECONDS
from harness.media.scenes import CELLS, MIDDLE, Floats, Ints, Scenes, draw_scenes

Style = Literal["changing", "dialogue", "moving"]
STYLES: tuple[Style, ...] = ("changing", "dialogue", "moving")
LAST_SECOND = CLIP_SECONDS - 1
_ABSENT = 0.25


@dataclass(frozen=True, slots=True)
class Turn:
    """What a dialogue says about one second: the digit of a colour (1..4) or in a cell (0..8)."""

    about: Literal["colour", "cell"]
    index: int
    digit: int


@dataclass(frozen=True)
class Truth:
    """What one clip shows: ``digit`` and ``colour`` by second and cell; EMPTY and 0 where nothing is.

    ``direction`` is an index into DIRECTIONS in the moving style; ``turns`` has one entry per second in the
    dialogue style. In the moving style the travelling digit is listed in the middle at every second.
    """

    style: Style
    digit: list[list[int]]
    colour: list[list[int]]
    direction: int | None = None
    turns: tuple[Turn, ...] = ()

    def cell_of(self, second: int, colour: int) -> int | None:
        """The cell in which a colour (1..4) is shown, None where it is absent."""
        row = self.colour[second]
        return row.index(colour) if colour in row else None

    def digit_of(self, second: int, colour: int) -> int | None:
        cell = self.cell_of(second, colour)
        return None if cell is None else self.digit[second][cell]

    def digit_at(self, second: int, cell: int) -> int | None:
        digit = self.digit[second][cell]
        return None if digit == EMPTY else digit


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one batch: their truths, and the scenes and backdrops from which any frame is drawn.

    Scene ``16 i + t`` is second t of clip i.
    """

    truths: tuple[Truth, ...]
    scenes: Scenes
    backdrops: Floats
    directions: Ints

    def frames(self, clip: Ints, frame: Ints) -> Scenes:
        """The scenes at the given video frames of the given clips, with drift and motion applied."""
        scenes = self.scenes[clip * CLIP_SECONDS + frame // CLIP_FPS]
        # A slow swing of one native pixel, so that frames of one second differ by more than noise.
        scenes.shift[:, :, 0] += (frame % CLIP_FPS // 2)[:, None]
        moving = self.directions[clip] >= 0
        away = approach(np.maximum(self.directions[clip], 0), frame, LAST_SECOND * CLIP_FPS)
        scenes.shift[:, MIDDLE] += np.where(moving[:, None], away, 0)
        return scenes


def draw_clips(rng: np.random.Generator, bank: DigitBank, styles: list[Style]) -> Clips:
    """Draw one clip for each of ``styles``. One or two colours are absent from the last second."""
    count = len(styles)
    present = rng.random((count, CLIP_SECONDS, 4)) >= _ABSENT
    order = np.argsort(rng.random((count, 4)), axis=1)
    present[:, LAST_SECOND] = order >= rng.integers(1, 3, size=(count, 1))
    scenes = draw_scenes(rng, bank, present.reshape(-1, 4))
    directions = np.where([style == "moving" for style in styles], rng.integers(0, 4, size=count), -1)
    movers = moving_scenes(rng, bank, count)
    for clip in np.flatnonzero(directions >= 0).tolist():
        seconds = slice(clip * CLIP_SECONDS, (clip + 1) * CLIP_SECONDS)
        for name in ("digit", "colour", "instance", "shift", "side", "gain"):
            getattr(scenes, name)[seconds] = getattr(movers, name)[clip]
    digit, colour = scenes.digit.tolist(), scenes.colour.tolist()
    picks = rng.random((count, CLIP_SECONDS, 2))
    truths = []
    for clip, style in enumerate(styles):
        rows = slice(clip * CLIP_SECONDS, (clip + 1) * CLIP_SECONDS)
        shown = digit[rows], colour[rows]
        turns = tuple(map(_turn, *shown, picks[clip].tolist())) if style == "dialogue" else ()
        direction = int(directions[clip]) if style == "moving" else None
        truths.append(Truth(style, *shown, direction, turns))
    backdrops = draw_backdrops(rng, count)
    return Clips(tuple(truths), scenes, backdrops, directions)


def _turn(digit: list[int], colour: list[int], pick: list[float]) -> Turn:
    """Choose what is said of a second: a colour or a cell that shows a digit."""
    coloured = [cell for cell in range(len(CELLS)) if colour[cell] > 0]
    shown = [cell for cell in range(len(CELLS)) if digit[cell] != EMPTY]
    if coloured and pick[0] < 0.6:
        cell = coloured[int(pick[1] * len(coloured))]
        return Turn("colour", colour[cell], digit[cell])
    cell = shown[int(pick[1] * len(shown))]
    return Turn("cell", cell, digit[cell])
