"""Ratios of times over interleaved rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.stats.ratios import paired_ratio

times = st.floats(1e-3, 1e6)


@given(st.lists(st.tuples(times, times), min_size=1, max_size=40))
def test_exchanging_the_sides_gives_the_reciprocal(rounds: list[tuple[float, float]]) -> None:
    first, second = [one for one, _ in rounds], [two for _, two in rounds]
    there, back = paired_ratio(first, second), paired_ratio(second, first)
    assert there.ratio == pytest.approx(1 / back.ratio)
    if len(rounds) > 1:
        assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))
        assert there.low <= there.ratio * (1 + 1e-9)
        assert there.ratio <= there.high * (1 + 1e-9)


def test_what_slows_a_round_down_for_both_cancels() -> None:
    load = np.exp(np.random.default_rng(0).normal(0, 1, 20))
    found = paired_ratio((3.0 * load).tolist(), (2.0 * load).tolist())
    assert (found.ratio, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))
    assert found.rounds == 20


def test_one_round_tells_no_spread() -> None:
    found = paired_ratio([3.0], [2.0])
    assert found.ratio == pytest.approx(1.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_one_disturbed_round_moves_neither_the_ratio_nor_the_interval_far() -> None:
    second = [10.0] * 12
    first = [20.0 + 0.01 * index for index in range(11)] + [400.0]
    found = paired_ratio(first, second)
    assert 2.0 <= found.low <= found.ratio <= found.high <= 2.02


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([], [], "0 times against 0"),
        ([1.0], [1.0, 2.0], "1 times against 2"),
        ([1.0, 0.0], [1.0, 1.0], r"round 1 is 0\.0 ms"),
        ([1.0], [-1.0], r"round 0 is -1\.0 ms"),
        ([math.nan], [1.0], "round 0 is nan ms"),
        ([1.0], [math.inf], "round 0 is inf ms"),
    ],
)
def test_what_is_no_time_is_refused(first: list[float], second: list[float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        paired_ratio(first, second)
