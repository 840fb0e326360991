"""Where the order of two methods turns with the number of frames, as far as their ratios bear it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.text import listed
from harness.timing.frame import SIZE_COLUMNS

WORDS = {
    "prefill": "prefills faster",
    "per_frame": "takes in a frame faster",
    "per_token": "decodes a token faster",
}
_CURVE = [
    "first",
    "second",
    "phase",
    *(column for column in SIZE_COLUMNS if column not in ("frames", "digest")),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One method is faster at the frames ``before``, the other at the frames ``after``.

    At each of them the 95 % interval of the ratio excludes 1. ``unclear`` are the frames from the first of
    ``before`` to the last of ``after`` at which it does not. All are in ascending order.
    """

    phase: str
    faster_before: str
    faster_after: str
    before: tuple[int, ...]
    unclear: tuple[int, ...]
    after: tuple[int, ...]
    resolution: str
    backbone: str
    task: str
    weights: str
    device: str
    dtype: str
    threads: int
    opens: bool
    """Nothing was timed below ``before``."""
    closes: bool
    """Nothing was timed above ``after``."""


def crossings(ratios: pd.DataFrame) -> list[Crossing]:
    """Every turn of an order along frames at one resolution, from :func:`harness.timing.frame.ratios`.

    Sizes are on one curve where nothing but the frames differs.
    """
    found = []
    for _, curve in ratios.groupby(_CURVE, sort=False, dropna=False):
        found += _along(curve.sort_values("frames"))
    return found


def sentence(crossing: Crossing) -> str:
    """A crossing in words, each size that is named for a method told apart from noise."""
    words = WORDS[crossing.phase]
    text = (
        f"At {crossing.resolution} pixels {crossing.faster_before} {words} than {crossing.faster_after} "
        f"{_until(crossing.before, crossing.opens)}, {crossing.faster_after} "
        f"{_from(crossing.after, crossing.closes)}"
    )
    if crossing.unclear:
        text += f"; at {listed([str(frames) for frames in crossing.unclear])} it cannot be told"
    return f"{text}."


def _along(curve: pd.DataFrame) -> list[Crossing]:
    stretches: list[tuple[int, list[int]]] = []
    every = [int(frames) for frames in curve["frames"]]
    for frames, low, high in zip(every, curve["low"], curve["high"], strict=True):
        side = _side(low, high)
        if side and stretches and stretches[-1][0] == side:
            stretches[-1][1].append(frames)
        elif side:
            stretches.append((side, [frames]))
    first = curve.iloc[0]
    found = []
    for (side, before), (_, after) in itertools.pairwise(stretches):
        names = (first["first"], first["second"]) if side < 0 else (first["second"], first["first"])
        told = {*before, *after}
        found.append(
            Crossing(
                phase=first["phase"],
                faster_before=names[0],
                faster_after=names[1],
                before=tuple(before),
                unclear=tuple(n for n in every if before[0] < n < after[-1] and n not in told),
                after=tuple(after),
                opens=before[0] == every[0],
                closes=after[-1] == every[-1],
                **{name: first[name] for name in ("resolution", "backbone", "task", "weights")},
                **{name: first[name] for name in ("device", "dtype", "threads")},
            )
        )
    return found


def _side(low: float, high: float) -> int:
    """-1 where the first is faster, 1 where the second is, 0 where it cannot be told; NaN tells nothing."""
    return -1 if high < 1 else 1 if low > 1 else 0


def _until(frames: Sequence[int], opens: bool) -> str:
    if len(frames) == 1:
        return f"at {_frames(frames[0])}"
    return f"up to {_frames(frames[-1])}" if opens else f"from {frames[0]} to {_frames(frames[-1])}"


def _from(frames: Sequence[int], closes: bool) -> str:
    if len(frames) == 1:
        return f"at {frames[0]}"
    return f"from {frames[0]} on" if closes else f"from {frames[0]} to {frames[-1]}"


def _frames(number: int) -> str:
    return "1 frame" if number == 1 else f"{number} frames"
