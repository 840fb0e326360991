"""The permutation test of paired differences: exchange the two sides of whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.stats.intervals import Floats

DRAWS = 10_000
MOST_DRAWS = 100_000
DRAWS_PER_TEST = 200
"""Enough for Holm's correction over so many tests to leave the smallest possible p-value at 0.005."""

ENUMERATED = 13
"""Up to so many groups all of their 8,192 assignments are fewer than the draws."""

_BLOCK_ELEMENTS = 2**21


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip:
    """A two-sided p-value; ``exact`` where every assignment was counted, else it is a mid-p over draws."""

    p_value: float
    exact: bool


def sign_flip(tests: Sequence[Floats], *, seed: int = 0) -> list[SignFlip]:
    """For each test, given as the sums of differences by group, how extreme its total is.

    Under equality either sign of a group's sum is as likely as the other. Groups whose sum is 0 have no say,
    so that what is counted does not depend on how many there are. Where few do, all assignments are counted.
    Else they are drawn; what is exactly as extreme as the observed total then counts half (Lancaster's mid-p,
    1961), since sums of discrete scores tie often. The draws are shared by all tests: every p-value stands on
    its own, and it counts the observed assignment too, so it is never 0 (Phipson and Smyth 2010).
    """
    telling = [sums[sums != 0] for sums in tests]
    drawn = [index for index, sums in enumerate(telling) if len(sums) > ENUMERATED]
    draws = min(MOST_DRAWS, max(DRAWS, DRAWS_PER_TEST * len(tests)))
    found = {
        index: SignFlip(p_value=(extreme + 1) / (draws + 1), exact=False)
        for index, extreme in zip(drawn, _drawn([telling[i] for i in drawn], draws, seed), strict=True)
    }
    return [found.get(index) or _enumerated(sums) for index, sums in enumerate(telling)]


def _enumerated(sums: Floats) -> SignFlip:
    signs = np.array(list(product((-1.0, 1.0), repeat=len(sums))))
    return SignFlip(p_value=float((np.abs(signs @ sums) >= _limits(sums)[0]).mean()), exact=True)


def _drawn(tests: Sequence[Floats], draws: int, seed: int) -> list[float]:
    """For each test the number of draws whose total is more extreme than the observed one, ties as half."""
    if not tests:
        return []
    longest = max(len(sums) for sums in tests)
    sums_GT = np.zeros((longest, len(tests)))
    for column, sums in enumerate(tests):
        sums_GT[: len(sums), column] = sums
    at_least_T, beyond_T = np.array([_limits(sums) for sums in tests]).T
    rng = np.random.default_rng(seed)
    extreme_T = np.zeros(len(tests))
    step = max(1, _BLOCK_ELEMENTS // max(longest, len(tests)))
    for start in range(0, draws, step):
        size = (min(step, draws - start), longest)
        signs_DG = 2.0 * rng.integers(2, size=size, dtype=np.int8) - 1.0
        totals_DT = np.abs(signs_DG @ sums_GT)
        extreme_T += ((totals_DT >= at_least_T).sum(axis=0) + (totals_DT > beyond_T).sum(axis=0)) / 2
    return [float(count) for count in extreme_T]


def _limits(sums: Floats) -> tuple[float, float]:
    """Totals from the first limit on are as extreme as the observed one, beyond the second more so.

    Between them is what rounding can make of an equal total.
    """
    observed, slack = abs(sums.sum()), 1e-9 * np.abs(sums).sum()
    return float(observed - slack), float(observed + slack)
