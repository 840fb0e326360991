"""Intervals against references; their coverage is in test_simulation.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.errors import UsageError
from harness.stats.intervals import cluster_bootstrap, mean_interval, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 7), (1, 7), (8, 10), (249, 256), (256, 256)])
def test_wilson_equals_scipy(right: int, count: int) -> None:
    ours = wilson(right / count, count)
    theirs = binomtest(right, count).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_lies_in_the_unit_range_and_holds_its_mean(scores: list[tuple[float, int]]) -> None:
    interval = mean_interval([value for value, _ in scores], [group for _, group in scores])
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0


def test_clustered_answers_widen_the_interval() -> None:
    values = [1.0] * 60 + [0.0] * 40
    clustered = mean_interval(values, [index // 10 for index in range(100)])
    alone = mean_interval(values, list(range(100)))
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_equal_values_in_few_groups_still_have_an_interval() -> None:
    interval = cluster_bootstrap([1.0] * 30, [index // 10 for index in range(30)])
    assert interval.high == 1.0
    assert interval.low == pytest.approx(wilson(1.0, 3).low)


def test_the_bootstrap_is_seeded() -> None:
    values, groups = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0, 0, 1, 1, 2, 2]
    assert cluster_bootstrap(values, groups, seed=3) == cluster_bootstrap(values, groups, seed=3)


def test_no_values_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one"):
        cluster_bootstrap([], [])
    with pytest.raises(UsageError, match="at least one"):
        wilson(0.0, 0)
