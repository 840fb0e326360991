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
    """A two-sided p-value; ``exact`` where every assignment was counted instead of a random part of them."""

    p_value: float
    exact: bool


def sign_flip(tests: Sequence[Floats], *, seed: int = 0) -> list[SignFlip]:
    """For each test, given as the sums of differences by group, how extreme its total is.

    Under equality either sign of a group's sum is as likely as the other. Groups whose sum is 0 have no say,
    so that what is counted does not depend on how many there are. The draws are shared by all tests: every
    p-value is valid on its own, and it counts the observed assignment too, so it is never 0 (Phipson and
    Smyth 2010).
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
    return SignFlip(p_value=float((np.abs(signs @ sums) >= _reached(sums)).mean()), exact=True)


def _drawn(tests: Sequence[Floats], draws: int, seed: int) -> list[int]:
    """For each test in how many of the draws its total is as extreme as the observed one."""
    if not tests:
        return []
    longest = max(len(sums) for sums in tests)
    sums_GT = np.zeros((longest, len(tests)))
    for column, sums in enumerate(tests):
        sums_GT[: len(sums), column] = sums
    reached_T = np.array([_reached(sums) for sums in tests])
    rng = np.random.default_rng(seed)
    extreme_T = np.zeros(len(tests), dtype=np.int64)
    step = max(1, _BLOCK_ELEMENTS // max(longest, len(tests)))
    for start in range(0, draws, step):
        size = (min(step, draws - start), longest)
        signs_DG = 2.0 * rng.integers(2, size=size, dtype=np.int8) - 1.0
        extreme_T += (np.abs(signs_DG @ sums_GT) >= reached_T).sum(axis=0)
    return extreme_T.tolist()


def _reached(sums: Floats) -> float:
    """The observed total, less what rounding may take from an equal one."""
    return float(abs(sums.sum()) - 1e-9 * np.abs(sums).sum())
