"""Axes of panels: ranges that hold every value, and ticks at what was measured or at powers of two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness.report.plots.model import Axis

HEADROOM = 0.085
"""Share of a panel's height that is kept free for the failures of one method."""
LOG_FROM = 6.0
"""A cost axis is logarithmic where the largest value is more than so many times the smallest."""
MOST_TICKS = 7


def frames_axis(frames: Iterable[int]) -> Axis:
    """A log2 axis with ticks at the measured numbers of frames."""
    ticks = sorted({float(value) for value in frames})
    return _sizes("Frames (log scale)", "frames", ticks, [f"{tick:g}" for tick in ticks])


def resolution_axis(points: Sequence[dict[str, Any]]) -> Axis:
    """A log2 axis over the side, with ticks at the measured resolutions."""
    sizes = dict(sorted({(row["side_px"], row["resolution"]) for row in points}))
    return _sizes("Resolution (pixels, log scale)", "pixels", list(sizes), list(sizes.values()))


def _sizes(title: str, unit: str, ticks: list[float], texts: list[str]) -> Axis:
    margin = max((ticks[-1] / ticks[0]) ** 0.06, 1.12)
    return Axis(
        title=title,
        unit=unit,
        low=ticks[0] / margin,
        high=ticks[-1] * margin,
        log2=True,
        ticks=tuple(ticks),
        texts=tuple(texts),
    )


def share_axis(title: str, failing: int = 0) -> Axis:
    """From 0 to 1, with room above for the marks of so many failing methods."""
    return _with_room(
        Axis(
            title=title,
            low=-0.02,
            high=1.03,
            ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
            texts=("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"),
        ),
        failing,
    )


def cost_axis(title: str, unit: str, values: Iterable[float], failing: int = 0) -> Axis:
    """From zero, or log2 where the values differ much, with room above for failures."""
    positive = sorted(value for value in values if math.isfinite(value))
    if positive and positive[0] > 0 and positive[-1] / positive[0] > LOG_FROM:
        return log2_axis(title, unit, positive, failing)
    top = positive[-1] if positive and positive[-1] > 0 else 1.0
    return _with_room(Axis(title=title, unit=unit, low=0.0, high=1.08 * top), failing)


def log2_axis(title: str, unit: str, values: Sequence[float], failing: int = 0) -> Axis:
    """A log2 axis around positive values with ticks at powers of two."""
    least, most = min(values), max(values)
    margin = max((most / least) ** 0.06, 1.12)
    axis = _with_room(
        Axis(title=title, unit=unit, low=least / margin, high=most * margin, log2=True), failing
    )
    powers = range(math.ceil(math.log2(axis.low)), math.floor(math.log2(most * margin)) + 1)
    ticks = [2.0**power for power in powers[:: len(powers) // MOST_TICKS + 1]]
    return Axis(
        title=title,
        unit=unit,
        low=axis.low,
        high=axis.high,
        log2=True,
        ticks=tuple(ticks),
        texts=tuple(f"{tick:,.0f}" if tick >= 1 else f"{tick:.3g}" for tick in ticks),
    )


def _with_room(axis: Axis, failing: int) -> Axis:
    grown = 1 / (1 - min(HEADROOM * failing, 0.5))
    if axis.log2:
        high = axis.low * (axis.high / axis.low) ** grown
    else:
        high = axis.low + (axis.high - axis.low) * grown
    return Axis(
        title=axis.title,
        unit=axis.unit,
        low=axis.low,
        high=high,
        log2=axis.log2,
        ticks=axis.ticks,
        texts=axis.texts,
    )


def beside(x: Sequence[float]) -> float:
    """The factor that moves a dot a little to the right of its mean on a logarithmic axis over ``x``."""
    return float(2 ** (0.03 * max(math.log2(max(x) / min(x)), 0.6)))
