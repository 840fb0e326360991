"""Intervals for accuracies: Wilson's for independent answers, a bootstrap over groups for clustered ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

from harness.errors import UsageError

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000

_BLOCK_ELEMENTS = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its two-sided confidence interval."""

    mean: float
    low: float
    high: float


def wilson(mean: float, count: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval (1927) for a mean of ``count`` values in 0..1.

    Exact in form for right-or-wrong values. Fractional scores vary less than such values with the same mean,
    so for them it is wide rather than narrow.
    """
    if count <= 0:
        raise UsageError(f"an interval over {count} values does not exist; at least one is needed")
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    centre = (mean + z2 / (2 * count)) / (1 + z2 / count)
    half = float(np.sqrt(z2 * (mean * (1 - mean) / count + z2 / (4 * count**2)))) / (1 + z2 / count)
    # At 0 and 1 the bound is the mean itself; rounding must not put it on the wrong side.
    return Interval(
        mean=mean, low=max(0.0, min(centre - half, mean)), high=min(1.0, max(centre + half, mean))
    )


def cluster_bootstrap(
    values: Sequence[float],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap of a mean that draws whole groups, with Hesterberg's widening for few groups.

    Hesterberg (2015, arXiv 1411.5279, section 4) takes percentiles at ``Phi(sqrt(g / (g - 1)) * t)`` with g -
    1 degrees of freedom, since the bootstrap's spread is too small by that much. Where resampling cannot show
    any spread (one group, or all values equal) the interval is Wilson's with the number of groups as the
    number of values.
    """
    sums, counts = by_group(values, groups)
    mean, number = float(sums.sum() / counts.sum()), len(sums)
    if number == 1 or np.ptp(np.asarray(values)) == 0:
        return wilson(mean, number, confidence)
    means_R1 = resampled_means(sums[:, None], counts[:, None], seed=seed, resamples=resamples)
    low, high = np.quantile(means_R1, widened_tails(number, confidence))
    return Interval(mean=mean, low=float(min(low, mean)), high=float(max(high, mean)))


def mean_interval(values: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Wilson's interval where every value has a group of its own, else the bootstrap over groups."""
    if len(set(groups)) == len(values):
        return wilson(float(np.mean(values)), len(values))
    return cluster_bootstrap(values, groups, seed=seed)


def by_group(values: Sequence[float], groups: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sum and count of the values in each group, groups in the order of first appearance."""
    if not values or len(values) != len(groups):
        raise UsageError(
            f"{len(values)} values with {len(groups)} groups; give at least one value and as many groups"
        )
    order = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    member = np.array([order[group] for group in groups])
    sums = np.bincount(member, weights=np.asarray(values, dtype=np.float64))
    return sums.astype(np.float64), np.bincount(member).astype(np.float64)


def resampled_means(
    sums_GP: Floats, counts_GP: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Floats:
    """The mean of every column under each resampling of the groups, shape (resamples, columns).

    Rows are groups, with the sum and the number of their values; all columns share the draws. Draws become
    weights in blocks, so that memory does not grow with the number of resamplings.
    """
    number = len(sums_GP)
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK_ELEMENTS // number)
    blocks = []
    for start in range(0, resamples, step):
        drawn = rng.integers(number, size=(min(step, resamples - start), number))
        rows = number * np.arange(len(drawn))[:, None]
        weights = np.bincount((drawn + rows).ravel(), minlength=drawn.size).reshape(drawn.shape)
        blocks.append((weights @ sums_GP) / (weights @ counts_GP))
    return np.concatenate(blocks)


def widened_tails(number: int, confidence: float) -> tuple[float, float]:
    """Hesterberg's tail probabilities for percentiles over ``number`` groups."""
    quantile = float(stdtrit(number - 1, (1 - confidence) / 2))
    tail = float(ndtr(np.sqrt(number / (number - 1)) * quantile))
    return tail, 1 - tail
