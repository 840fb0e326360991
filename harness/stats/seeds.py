"""The spread between trained models, kept apart from what the sampling of questions does to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from harness.errors import UsageError
from harness.stats.intervals import CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """A measure over trained models that differ in their seed alone, in the measure's unit.

    ``sd`` is the sample standard deviation, ``low`` and ``high`` are Student's 95 % interval of the mean over
    seeds, which takes models as normally distributed; all three are None for one model.
    """

    models: int
    mean: float
    least: float
    most: float
    sd: float | None
    low: float | None
    high: float | None


def seed_spread(values: Sequence[float]) -> SeedSpread:
    """The spread of one value per trained model; raises UsageError without a value."""
    if not values:
        raise UsageError("a spread over 0 models does not exist; give one value per trained model")
    number, mean = len(values), float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if number > 1 else None
    half = None if sd is None else float(stdtrit(number - 1, (1 + CONFIDENCE) / 2)) * sd / number**0.5
    return SeedSpread(
        models=number,
        mean=mean,
        least=min(values),
        most=max(values),
        sd=sd,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
    )


def seed_difference(
    first: Sequence[tuple[int, float]], second: Sequence[tuple[int, float]]
) -> SeedSpread | None:
    """The spread of ``first - second``, each given as (seed, value), over the seeds that both have.

    None where they share fewer than two, or where one side has several models of one seed, whose counterpart
    is not known. A seed fixes the order of the training data for both, so differences within a seed vary less
    than the models themselves.
    """
    left, right = dict(first), dict(second)
    if len(left) < len(first) or len(right) < len(second):
        return None
    shared = sorted(left.keys() & right.keys())
    return seed_spread([left[seed] - right[seed] for seed in shared]) if len(shared) > 1 else None
