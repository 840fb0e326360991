"""Two methods on the same questions: the difference of their scores, its interval and a test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.intervals import CONFIDENCE, RESAMPLES, by_group, widened_tails


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The mean of ``first - second`` over the same questions, its interval, and a two-sided p-value."""

    mean: float
    low: float
    high: float
    p_value: float


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> PairedDifference:
    """Compare two lists of scores, question by question.

    The interval is the bootstrap over groups. The p-value is that of the permutation test which exchanges the
    two sides for whole groups at random; it counts the observed assignment too, so it is never 0 (Phipson and
    Smyth 2010).
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    sums, counts = by_group(differences.tolist(), groups)
    mean, number = float(sums.sum() / counts.sum()), len(sums)
    rng = np.random.default_rng(seed)
    signs = rng.choice((-1.0, 1.0), size=(resamples, number))
    observed = abs(sums.sum())
    as_extreme = int((np.abs(signs @ sums) >= observed - 1e-9).sum())
    p_value = (as_extreme + 1) / (resamples + 1)
    if number == 1:
        return PairedDifference(mean=mean, low=-1.0, high=1.0, p_value=p_value)
    drawn = rng.integers(number, size=(RESAMPLES, number))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, widened_tails(number, CONFIDENCE))
    return PairedDifference(mean=mean, low=float(low), high=float(high), p_value=p_value)
