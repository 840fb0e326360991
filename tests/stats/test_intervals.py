"""Intervals against references and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.errors import UsageError
from harness.stats.intervals import cluster_bootstrap, mean_interval, wilson
from harness.stats.paired import paired_difference


@pytest.mark.parametrize(("right", "count"), [(0, 7), (1, 7), (8, 10), (249, 256), (256, 256)])
def test_wilson_equals_scipy(right: int, count: int) -> None:
    ours = wilson(right / count, count)
    theirs = binomtest(right, count).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_lies_in_the_unit_range_and_holds_its_mean(scores: list[tuple[float, int]]) -> None:
    interval = mean_interval([value for value, _ in scores], [group for _, group in scores])
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0


def simulated_coverage(groups: int, size: int, spread: float, simulations: int) -> float:
    """How often the 95 % interval holds the truth; ``spread`` makes answers of one group alike."""
    rng = np.random.default_rng(7)
    truth = 0.7
    held = 0
    for _ in range(simulations):
        rates = rng.beta(truth * spread, (1 - truth) * spread, size=groups)
        values = (rng.random((groups, size)) < rates[:, None]).astype(float).ravel()
        owners = np.repeat(np.arange(groups), size)
        interval = cluster_bootstrap(values.tolist(), owners.tolist(), resamples=400)
        held += interval.low <= truth <= interval.high
    return held / simulations


@pytest.mark.parametrize("groups", [8, 64])
def test_the_cluster_bootstrap_covers_what_it_says(groups: int) -> None:
    assert 0.91 <= simulated_coverage(groups, size=5, spread=1.0, simulations=400) <= 0.985


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


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    better = (rng.random(300) < 0.8).astype(float)
    worse = (rng.random(300) < 0.6).astype(float)
    found = paired_difference(better.tolist(), worse.tolist(), list(range(300)))
    assert found.low > 0
    assert found.p_value < 0.01
    assert found.mean == pytest.approx(better.mean() - worse.mean())


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        rates = np.repeat(rng.beta(0.7, 0.3, size=20), 4)
        scores = (rng.random((2, 80)) < rates).astype(float)
        owners = np.repeat(np.arange(20), 4).tolist()
        found = paired_difference(scores[0].tolist(), scores[1].tolist(), owners, resamples=400)
        alarms += found.p_value < 0.05
    assert alarms / 300 <= 0.09


def test_equal_scores_have_no_difference() -> None:
    same = paired_difference([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0, 1, 2])
    assert (same.mean, same.p_value) == (0.0, 1.0)
