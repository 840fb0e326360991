"""Orders from increments, their bounds, regimes and laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scaling import (
    GRANULE,
    GREATEST_ORDER,
    Growth,
    Point,
    chosen_triple,
    exponent,
    growth,
    growths,
    least_order,
    order_of,
    rounding_bytes,
)
from tests.counted import MIB, WEIGHTS, alive, count_key, peak, record, series

DOUBLING = (1, 2, 4)


def points(*pairs: tuple[int, int], site: str = "a", tensors: int = 1) -> list[Point]:
    return [Point(size=n, peak_bytes=amount, site=("p", site), tensors=tensors) for n, amount in pairs]


def grown(*made: Point) -> Growth:
    return growth("frames", count_key(), made)


sizes = st.lists(st.integers(1, 4096), min_size=3, max_size=3, unique=True).map(sorted)


@given(sizes, st.floats(0.05, 6.0))
def test_an_exact_power_gives_its_exponent(three: list[int], power: float) -> None:
    x, y, z = three
    ratio = (z**power - y**power) / (y**power - x**power)
    assert exponent(ratio, (x, y, z)) == pytest.approx(power, abs=1e-4)


@given(sizes, st.integers(1, 3), st.integers(0, 2**40), st.integers(10**6, 10**9))
def test_weights_cancel(three: list[int], power: int, weights: int, each: int) -> None:
    """Slope of 2 GiB and more of weights included, a polynomial of one term gives its power."""
    x, y, z = points(*((n, weights + each * n**power) for n in three))
    order = order_of(x, y, z)
    assert order.value is not None
    assert order.value == pytest.approx(power, abs=1e-4)
    assert order.low is not None
    assert order.high is not None
    assert order.low <= order.value <= order.high
    assert order.trend == "rises"


@given(sizes, st.floats(0.1, 3.0), st.floats(1.05, 3.0))
def test_larger_ratios_are_larger_orders(three: list[int], ratio: float, factor: float) -> None:
    x, y, z = three
    assert exponent(ratio, (x, y, z)) <= exponent(ratio * factor, (x, y, z)) + 1e-9


@given(st.integers(1, 1000), st.integers(10**4, 10**8), st.integers(10**4, 10**8))
def test_a_sum_of_powers_lies_between_them(n: int, linear: int, square: int) -> None:
    made = points(*((m, linear * m + square * m * m) for m in (n, 2 * n, 4 * n)))
    order = order_of(*made)
    assert order.value is not None
    assert 1 <= order.value <= 2


@given(st.integers(0, 2**33), st.integers(1, 64), st.data())
def test_rounding_alone_is_no_growth(weights: int, tensors: int, data: st.DataObject) -> None:
    """Each of the tensors is a little larger at every size, and rounded up by itself."""
    exact = data.draw(st.lists(st.integers(1, 10**6), min_size=tensors, max_size=tensors))
    steps = data.draw(st.lists(st.integers(0, 1), min_size=tensors, max_size=tensors))

    def peak_at(size: int) -> int:
        each = (GRANULE * math.ceil((e + s * size) / GRANULE) for e, s in zip(exact, steps, strict=True))
        return weights + sum(each)

    made = points(*((n, peak_at(n)) for n in (1, 2, 4)), tensors=tensors)
    assert order_of(*made).trend == "flat"


def test_a_slope_of_logarithms_would_be_wrong() -> None:
    """2 GiB of weights: the slope is 0.04, the order 1."""
    made = points(*((n, 2 * 2**30 + n * MIB * 10) for n in (2, 4, 8)))
    slope = math.log2(made[2].peak_bytes / made[1].peak_bytes)
    assert slope < 0.1
    assert order_of(*made).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("peaks", "trend", "value"),
    [
        ((100, 100, 100), "flat", 0.0),
        ((100, 100 + 512, 100), "flat", 0.0),
        ((90_000, 80_000, 70_000), "falls", 0.0),
        ((90_000, 90_000, 70_000), "falls", 0.0),
        ((90_000, 190_000, 190_000), "levels off", 0.0),
        ((90_000, 190_000, 200_000), "levels off", 0.0),
        ((90_000, 70_000, 190_000), "not monotone", None),
        ((90_000, 190_000, 70_000), "not monotone", None),
        ((100_000, 100_000, 200_000), "rises", GREATEST_ORDER),
        ((100_000, 200_000, 400_000), "rises", 1.0),
        ((100_000, 200_000, 600_000), "rises", 2.0),
    ],
)
def test_trends(peaks: tuple[int, int, int], trend: str, value: float | None) -> None:
    order = order_of(*points(*zip(DOUBLING, peaks, strict=True)))
    assert order.trend == trend
    assert order.value == (None if value is None else pytest.approx(value))


def test_rounding_widens_the_order_of_small_increments() -> None:
    small = order_of(*points((1, 0), (2, 10_000), (4, 30_000), tensors=4))
    assert small.low is not None
    assert small.high is not None
    assert small.low < 0.9
    assert small.high > 1.1
    large = order_of(*points((1, 0), (2, 10**9), (4, 3 * 10**9), tensors=4))
    assert large.low == pytest.approx(large.high, abs=1e-4)


def test_a_tensor_kept_per_frame_does_not_hide_itself() -> None:
    """Tensors that are there at larger sizes only do not count as rounding, and neither do more than 64."""
    few, many = (Point(size=n, peak_bytes=0, tensors=n) for n in (4, 1000))
    assert rounding_bytes([few, many]) == 4 * GRANULE
    assert rounding_bytes([many]) == 64 * GRANULE


def test_peaks_at_one_line_are_chosen() -> None:
    a = points((1, 1), (2, 2), (4, 3), (8, 4), site="a")
    b = points((16, 100), (32, 200), site="b")
    assert chosen_triple([*a, *b]) == (a[1], a[2], a[3])
    c = points((64, 400), site="b")
    assert chosen_triple([*a, *b, *c]) == (*b, *c)
    assert chosen_triple(a[:2]) is None


def test_without_three_at_one_line_the_largest_are_marked() -> None:
    a, b = points((1, 0), (2, MIB), site="a"), points((4, 3 * MIB), (8, 9 * MIB), site="b")
    made = grown(*a, *b)
    assert made.order is not None
    assert made.order.mixed
    assert made.order.sizes == (2, 4, 8)
    assert not made.reaches_end
    assert made.law.endswith("(of peaks at different lines, so uncertain)")


def test_a_square_that_takes_over_late_is_bounded_from_below() -> None:
    """The linear moment is the peak up to 8 frames, a quadratic one after it."""

    def at(n: int) -> Point:
        line, square = n * 100 * MIB, n * n * 12 * MIB
        site = ("p", "line" if line > square else "square")
        return Point(size=n, peak_bytes=WEIGHTS + max(line, square), resting_bytes=WEIGHTS, site=site)

    made = grown(*map(at, (1, 2, 4, 8, 16, 32)))
    assert made.order is not None
    assert made.order.value == pytest.approx(1)
    assert made.order.sizes == (2, 4, 8)
    assert not made.reaches_end
    assert 1.4 < made.at_least < 2


@given(st.integers(0, 10**9), st.integers(1, 10**7), st.integers(0, 10**9), st.integers(1, 10**7))
def test_the_bound_never_exceeds_linear_growth(a: int, b: int, c: int, d: int) -> None:
    """The largest of two linear moments is never said to grow faster than linearly."""
    made = [
        Point(size=n, peak_bytes=WEIGHTS + max(a + b * n, c + d * n), resting_bytes=WEIGHTS)
        for n in (1, 2, 4, 8, 16)
    ]
    assert least_order(made) <= 1 + 1e-9


def test_coefficients_come_from_the_last_increment() -> None:
    made = grown(*(Point(size=n, peak_bytes=WEIGHTS + n * MIB, kv_tokens=10 + 16 * n) for n in (1, 2, 4, 8)))
    assert made.bytes_per_unit == MIB
    assert made.bytes_per_kv_token == MIB / 16
    assert made.reaches_end


@pytest.mark.parametrize(
    ("made", "law"),
    [
        ([Point(size=n, peak_bytes=WEIGHTS) for n in DOUBLING], "peak = 100 MiB, whatever the frames"),
        (points((1, MIB), (2, 2 * MIB), (4, 2 * MIB)), "peak = 2 MiB from 2 frames on"),
        (
            [Point(size=n, peak_bytes=WEIGHTS + n * MIB) for n in DOUBLING],
            "peak = 100 MiB + 1 MiB per frame",
        ),
        (
            [Point(size=n, peak_bytes=WEIGHTS + n * MIB, kv_tokens=8 * n) for n in DOUBLING],
            "peak = 100 MiB + 128 KiB · KV tokens (1 MiB per frame)",
        ),
        (
            [Point(size=n, peak_bytes=WEIGHTS + n * n * MIB) for n in DOUBLING],
            "peak = 100 MiB + 1 MiB · frames^2",
        ),
        (
            [Point(size=n, peak_bytes=round(WEIGHTS + n**1.5 * MIB)) for n in DOUBLING],
            "peak grows as frames^1.50, by 2.59 MiB per frame from 2 to 4 frames",
        ),
        (points((1, MIB), (2, 2 * MIB)), "peak = 1 MiB at 1 → 2 MiB at 2 frames, no law"),
    ],
)
def test_laws(made: list[Point], law: str) -> None:
    assert grown(*made).law == law


def test_regimes_and_axes_are_apart() -> None:
    records = series({1: 1, 2: 2, 4: 3}) + series({1: 1, 2: 2, 4: 3}, text_per_frame=8)
    records += [record(count_key(frames=4, height=h, width=64), peak(h)) for h in (32, 128)]
    records.append(record(count_key(frames=8), "broken"))
    frames = growths(records, ("frames",))
    assert [(g.fixed_text, len(g.points)) for g in frames if g.key.height == 64] == [(True, 3), (False, 3)]
    pixels = growths(records, ("pixels",))
    assert [[p.size for p in g.points] for g in pixels if g.fixed_text and g.key.frames == 4] == [
        [2048, 4096, 8192]
    ]


def test_of_two_shapes_with_equal_pixels_the_larger_peak_counts() -> None:
    records = [record(count_key(height=h, width=w), peak(p)) for h, w, p in ((32, 128, 5), (64, 64, 7))]
    (found,) = growths(records, ("pixels",))
    assert [(p.size, p.peak_bytes) for p in found.points] == [(4096, 7)]


def test_weights_do_not_count_as_rounded() -> None:
    groups = (alive(kind="parameters", count=300), alive(kind="activations", count=5))
    (found,) = growths([record(count_key(), peak(1, alive=groups))], ("frames",))
    assert found.points[0].tensors == 5
