from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.report.plots.pareto import front

NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf])


def test_dominated_points_are_left_out() -> None:
    assert front([3, 1, 2, 4, 2], [0.9, 0.2, 0.5, 0.8, 0.4]) == [1, 2, 0]


def test_equal_points_are_all_kept_and_worse_ones_at_the_same_cost_are_not() -> None:
    assert front([1, 1, 1, 2, 2], [0.5, 0.4, 0.5, 0.5, 0.6]) == [0, 2, 4]


def test_points_without_data_are_no_points() -> None:
    assert front([math.nan, 1, math.inf, 2], [0.9, math.nan, 1.0, 0.1]) == [3]
    assert front([], []) == []


@given(st.lists(st.tuples(NUMBERS, NUMBERS)))
def test_the_front_is_what_no_point_dominates(points: list[tuple[float, float]]) -> None:
    costs, values = [cost for cost, _ in points], [value for _, value in points]
    known = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]

    def dominated(i: int) -> bool:
        return any(costs[j] <= costs[i] and values[j] >= values[i] and points[j] != points[i] for j in known)

    found = front(costs, values)
    assert set(found) == {i for i in known if not dominated(i)}
    assert [costs[i] for i in found] == sorted(costs[i] for i in found)
