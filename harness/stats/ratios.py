"""How many times longer one of two sides takes, from rounds in which both were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, stdtrit

from harness.errors import UsageError
from harness.stats.intervals import CONFIDENCE

FEWEST_RANKED = 6
"""Below this number of rounds even the smallest and the largest ratio do not enclose the median at 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The median over ``rounds`` of ``first / second`` and its two-sided 95 % interval, without unit.

    ``low`` and ``high`` are NaN for a single round, which says nothing about the spread.
    """

    ratio: float
    low: float
    high: float
    rounds: int


def paired_ratio(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Ratio:
    """The ratio of times in milliseconds; element i of both sides was measured in the same round.

    Dividing within a round cancels what slows the machine down for both. The ratios are treated as
    logarithms, so that exchanging the sides turns the result into its reciprocal. From six rounds on the
    interval lies between order statistics and needs no shape of the distribution, only rounds that are
    independent; Hettmansperger and Sheather's interpolation (1986, Statistics & Probability Letters 4) takes
    away the excess of coverage that ranks alone have. With two to five rounds it is Student's interval of the
    mean of the logarithms, which is about the median where they are symmetric.

    Nothing is drawn at random; ``seed`` is there so that paired statistics are called alike.

    Raises UsageError for sides of different or no length and for times that are not positive and finite.
    """
    del seed
    if not len(first) or len(first) != len(second):
        raise UsageError(
            f"{len(first)} times against {len(second)}; give both times of every round, for one round or more"
        )
    for side in (first, second):
        for index, value in enumerate(side):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(
                    f"the time of round {index} is {value!r} ms; a ratio needs times above 0, "
                    "so leave out rounds that were not measured"
                )
    logs = np.sort(np.log(np.asarray(first, np.float64)) - np.log(np.asarray(second, np.float64)))
    low, high = _about_the_median(logs)
    return Ratio(
        ratio=float(np.exp(np.median(logs))),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        rounds=len(logs),
    )


def _about_the_median(ordered: npt.NDArray[np.float64]) -> tuple[float, float]:
    number = len(ordered)
    if number == 1:
        return math.nan, math.nan
    if number < FEWEST_RANKED:
        half = float(stdtrit(number - 1, (1 + CONFIDENCE) / 2)) * float(ordered.std(ddof=1)) / number**0.5
        return float(ordered.mean()) - half, float(ordered.mean()) + half
    # Ranks d and n + 1 - d enclose the median with probability covered[d - 1], which falls as d grows.
    covered = 1 - 2 * bdtr(np.arange((number + 1) // 2), number, 0.5)
    d = int((covered >= CONFIDENCE).sum())
    part = (covered[d - 1] - CONFIDENCE) / (covered[d - 1] - covered[d])
    weight = (number - d) * part / (d + (number - 2 * d) * part)
    low = (1 - weight) * ordered[d - 1] + weight * ordered[d]
    high = (1 - weight) * ordered[number - d] + weight * ordered[number - d - 1]
    return float(low), float(high)
