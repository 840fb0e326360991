"""Two methods on the same questions: the difference of their scores, its interval and a test.

Which test, and why: McNemar's takes questions as independent and answers as right or wrong. Where every
question has a group (a clip, say) of its own and every score is 0 or 1 it is used, with Bonett and Price's
interval. Where groups hold several questions, or scores are fractional, as means over models are, whole
groups are exchanged between the sides and whole groups are drawn for the interval. See
docs/design/statistics.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import UsageError
from harness.stats.intervals import CONFIDENCE, Floats, by_group, resampled_means, widened_tails
from harness.stats.mcnemar import bonett_price, exact_p, mid_p
from harness.stats.permutation import sign_flip

TestName = Literal["McNemar mid-p", "sign flips exact", "sign flips mid-p"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScores:
    """Scores in 0..1 of two sides for the same questions, in the same order, with each question's group."""

    first: Sequence[float]
    second: Sequence[float]
    groups: Sequence[Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The mean of ``first - second`` over the same questions, its 95 % interval, and a two-sided p-value.

    ``gained`` and ``lost`` count the questions that only the first and only the second side answered rightly,
    and ``exact_p`` is McNemar's exact p-value; the three are None where the test is another one.
    """

    mean: float
    low: float
    high: float
    p_value: float
    test: TestName
    questions: int
    groups: int
    gained: int | None = None
    lost: int | None = None
    exact_p: float | None = None


def paired_difference(
    first: Sequence[float], second: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0
) -> PairedDifference:
    """Compare two lists of scores, question by question; see :func:`paired_differences`."""
    return paired_differences([PairedScores(first=first, second=second, groups=groups)], seed=seed)[0]


def paired_differences(pairs: Sequence[PairedScores], *, seed: int = 0) -> list[PairedDifference]:
    """Compare many pairs at once; random draws are shared between them, which changes none on its own.

    Raises UsageError for sides of different or no length and for scores that are not in 0..1.
    """
    found: dict[int, PairedDifference] = {}
    clustered: dict[int, tuple[Floats, Floats]] = {}
    for index, pair in enumerate(pairs):
        first, second = _checked(pair)
        sums, counts = by_group((first - second).tolist(), pair.groups)
        binary = bool(np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all())
        if binary and len(sums) == len(first):
            found[index] = _mcnemar(int((first > second).sum()), int((first < second).sum()), len(first))
        else:
            clustered[index] = (sums, counts)
    groups = list(clustered.values())
    tests = sign_flip([sums for sums, _ in groups], seed=seed)
    intervals = _intervals(groups, seed)
    for (index, (sums, counts)), test, (low, high) in zip(clustered.items(), tests, intervals, strict=True):
        found[index] = PairedDifference(
            mean=float(sums.sum() / counts.sum()),
            low=low,
            high=high,
            p_value=test.p_value,
            test="sign flips exact" if test.exact else "sign flips mid-p",
            questions=int(counts.sum()),
            groups=len(sums),
        )
    return [found[index] for index in range(len(pairs))]


def _checked(pair: PairedScores) -> tuple[Floats, Floats]:
    if not len(pair.first) or len(pair.first) != len(pair.second):
        raise UsageError(
            f"{len(pair.first)} scores against {len(pair.second)}; give both sides' scores for the same "
            "questions, at least one"
        )
    first, second = np.asarray(pair.first, dtype=np.float64), np.asarray(pair.second, dtype=np.float64)
    for side in (first, second):
        outside = ~((side >= 0) & (side <= 1))
        if outside.any():
            raise UsageError(
                f"a score of {float(side[outside][0])!r} is not in 0..1; leave out questions without a score"
            )
    return first, second


def _mcnemar(gained: int, lost: int, number: int) -> PairedDifference:
    low, high = bonett_price(gained, lost, number)
    return PairedDifference(
        mean=(gained - lost) / number,
        low=low,
        high=high,
        p_value=mid_p(gained, lost),
        test="McNemar mid-p",
        questions=number,
        groups=number,
        gained=gained,
        lost=lost,
        exact_p=exact_p(gained, lost),
    )


def _intervals(pairs: Sequence[tuple[Floats, Floats]], seed: int) -> list[tuple[float, float]]:
    """The bootstrap over groups from each pair's sums and counts; pairs with as many groups share draws."""
    found: dict[int, tuple[float, float]] = {}
    alike: dict[int, list[int]] = {}
    for index, (sums, counts) in enumerate(pairs):
        if np.ptp(sums / counts) == 0:
            # Resampling shows no spread, which is not to say that there is none: the groups as questions.
            mean, number = float(sums[0] / counts[0]), len(sums)
            low, high = bonett_price(number * max(mean, 0.0), number * max(-mean, 0.0), number)
            found[index] = (low, high) if number > 1 else (-1.0, 1.0)
        else:
            alike.setdefault(len(sums), []).append(index)
    for number, members in alike.items():
        means_RP = resampled_means(
            np.stack([pairs[index][0] for index in members], axis=1),
            np.stack([pairs[index][1] for index in members], axis=1),
            seed=seed,
        )
        lows, highs = np.quantile(means_RP, widened_tails(number, CONFIDENCE), axis=0)
        found |= {
            index: (float(low), float(high)) for index, low, high in zip(members, lows, highs, strict=True)
        }
    return [found[index] for index in range(len(pairs))]
