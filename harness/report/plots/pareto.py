"""The points that no other point beats: by their values, or as far as differences can be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that are not dominated, from the cheapest to the dearest.

    A point is dominated by one that costs no more and is worth no less, and differs in one of them. Equal
    points are all kept; points with a value that is not finite are no points.
    """
    known = [
        index
        for index, (cost, value) in enumerate(zip(costs, values, strict=True))
        if math.isfinite(cost) and math.isfinite(value)
    ]
    kept: list[int] = []
    for index in sorted(known, key=lambda index: (costs[index], -values[index], index)):
        last = kept[-1] if kept else None
        equal = last is not None and (costs[index], values[index]) == (costs[last], values[last])
        if last is None or values[index] > values[last] or equal:
            kept.append(index)
    return kept


def unbeaten(costs: Sequence[float], values: Sequence[float], told: Callable[[int, int], bool]) -> list[int]:
    """Indices of the points that no other one beats as far as can be told, from the cheapest to the dearest.

    A point is beaten by one that costs no more and is worth no less, where ``told(better, worse)`` says that
    one of the two differences is more than noise. All of these are points of finite values.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -values[index], index))
    return [
        index
        for index in order
        if not any(
            costs[other] <= costs[index] and values[other] >= values[index] and told(other, index)
            for other in order
            if other != index
        )
    ]
