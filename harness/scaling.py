"""How counted peaks grow with frames and pixels: orders, coefficients, and the law in words.

A peak is ``a + b * n**p``, where ``a`` (weights above all) can be far larger than what grows; a slope of its
logarithm over that of ``n`` then says next to nothing. Increments do not contain ``a``:

    (M(4n) - M(2n)) / (M(2n) - M(n)) = 2**p

and for any three rising sizes x < y < z the ratio ``(z**p - y**p) / (y**p - x**p)`` rises with ``p``, so that
it has one ``p`` for every ratio.

**Rounding.** The allocator rounds each tensor up to 512 bytes, by 511 at most. Between two sizes a tensor's
own rounding can differ by that much, so an increment is known to within 512 bytes for each tensor alive that
is not a weight; :class:`Point` knows how many there are. They are counted at the smallest of the sizes, since
tensors that are there at the larger sizes only have been added, and to 64 at most (keys and values of 32
layers). An increment within that bound is none. ``Order.low`` and ``Order.high`` are the orders at both ends.

**Regimes.** A peak is the largest of several moments, which grow each in their own way, and increments
between two moments tell nothing. The order is therefore taken from sizes whose peak lies in the same phase at
the same line. Where these do not reach the largest size, :attr:`Growth.at_least` bounds what grows there from
below.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from scipy.optimize import brentq

from harness.counting.records import Alive, CountKey, CountRecord, Peak
from harness.units import bytes_text

Axis = Literal["frames", "pixels"]
Trend = Literal["flat", "falls", "levels off", "rises", "not monotone"]

AXES: Final[tuple[Axis, ...]] = ("frames", "pixels")
GRANULE: Final = 512
MOST_ROUNDED: Final = 64
GREATEST_ORDER: Final = 8.0
"""Stands for itself and everything above."""
WHOLE: Final = 0.05
"""An order this close to a whole number is called by it."""
_LEAST_ORDER = 1e-6
_WEIGHTS = frozenset({"parameters", "buffers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A peak at one size."""

    size: int
    peak_bytes: int
    resting_bytes: int = 0
    site: tuple[str, str] = ("", "")
    """The phase and the line of the peak."""
    kv_tokens: int = 0
    tensors: int = 1
    """Tensors alive that are not weights: each may be rounded by a granule."""
    alive: tuple[Alive, ...] = ()
    """The largest at the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The exponent that three peaks show, and how far the allocator's rounding may have moved it.

    None where they rise and fall: no power of the size does that.
    """

    trend: Trend
    value: float | None
    low: float | None
    high: float | None
    sizes: tuple[int, int, int]
    peaks: tuple[int, int, int]
    rounding_bytes: int
    mixed: bool
    """The three peaks do not lie at one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Peaks of one method, mode and regime of text over the sizes of one axis."""

    axis: Axis
    key: CountKey
    """Of the largest size."""
    points: tuple[Point, ...]
    order: Order | None
    """None with fewer than three sizes."""
    at_least: float
    """An order that what peaks at the largest size has at the least; 0 where nothing is known."""
    bytes_per_unit: float | None
    """From the last increment, per frame or per pixel; None with one size."""
    bytes_per_kv_token: float | None
    """The same per row that the token stream's cache has more; None where it has no more."""

    @property
    def fixed_text(self) -> bool:
        """No text comes with the frames, so that all growth is the frames' own."""
        return self.key.text_per_frame == 0

    @property
    def reaches_end(self) -> bool:
        """Whether the order was taken from peaks at one line, the largest size's among them."""
        return self.order is not None and not self.order.mixed and self.order.sizes[2] == self.points[-1].size

    @property
    def law(self) -> str:
        return law(self)


def exponent(ratio: float, sizes: tuple[int, int, int]) -> float:
    """The ``p`` at which ``(z**p - y**p) / (y**p - x**p)`` is ``ratio``: 0 for what rises no faster than a
    logarithm, 8 for what rises faster than that power."""
    x, y, z = sizes
    first, second = math.log(y / x), math.log(z / y)
    if ratio <= second / first:
        return 0.0
    if x * z == y * y:
        return min(GREATEST_ORDER, math.log(ratio) / first)

    def excess(p: float) -> float:
        increments = math.log(math.expm1(p * second)) - math.log(math.expm1(p * first))
        return p * first + increments - math.log(ratio)

    if excess(_LEAST_ORDER) >= 0:
        return 0.0
    if excess(GREATEST_ORDER) <= 0:
        return GREATEST_ORDER
    return float(brentq(excess, _LEAST_ORDER, GREATEST_ORDER, xtol=1e-12))


def order_of(x: Point, y: Point, z: Point) -> Order:
    """The order that three peaks of rising sizes show."""
    sizes, peaks = (x.size, y.size, z.size), (x.peak_bytes, y.peak_bytes, z.peak_bytes)
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    first, second = peaks[1] - peaks[0], peaks[2] - peaks[1]
    slack = rounding_bytes((x, y, z))
    value: float | None = 0.0
    low: float | None = 0.0
    high: float | None = 0.0
    trend = _trend(first, second, slack)
    if trend == "not monotone":
        value = low = high = None
    elif trend == "rises":
        value = _of_increments(first, second, sizes)
        low = _of_increments(first + slack, second - slack, sizes)
        high = _of_increments(first - slack, second + slack, sizes)
        if value == 0.0:
            trend = "levels off"
    return Order(
        trend=trend,
        value=value,
        low=low,
        high=high,
        sizes=sizes,
        peaks=peaks,
        rounding_bytes=slack,
        mixed=not x.site == y.site == z.site,
    )


def _trend(first: int, second: int, slack: int) -> Trend:
    rises, falls = (first > slack, second > slack), (first < -slack, second < -slack)
    if any(rises) and any(falls):
        return "not monotone"
    if any(falls):
        return "falls"
    if rises[1]:
        return "rises"
    return "levels off" if rises[0] else "flat"


def _of_increments(first: int, second: int, sizes: tuple[int, int, int]) -> float:
    if second <= 0:
        return 0.0
    return GREATEST_ORDER if first <= 0 else exponent(second / first, sizes)


def rounding_bytes(points: Sequence[Point]) -> int:
    """How much of the difference between two of these peaks the allocator's rounding can be."""
    return GRANULE * min(MOST_ROUNDED, max(1, min(point.tensors for point in points)))


def chosen_triple(points: Sequence[Point]) -> tuple[Point, Point, Point] | None:
    """The largest three sizes whose peaks lie at one line; else the largest three; None with fewer."""
    if len(points) < 3:
        return None
    by_site: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        by_site[point.site].append(point)
    triples = [tuple(group[-3:]) for group in by_site.values() if len(group) >= 3] or [tuple(points[-3:])]
    x, y, z = max(triples, key=lambda triple: [point.size for point in reversed(triple)])
    return x, y, z


def least_order(points: Sequence[Point]) -> float:
    """What peaks at the largest size grows with this order at the least, wherever the other peaks lie.

    At the size before, it took no more than the peak there, so that its last increment is not smaller than
    the peaks' own; and two sizes before it took no less than what rests there, which bounds the increment
    before.
    """
    if len(points) < 3:
        return 0.0
    x, y, z = points[-3:]
    slack = rounding_bytes((x, y, z))
    last = z.peak_bytes - y.peak_bytes - slack
    before = y.peak_bytes - x.resting_bytes + slack
    return _of_increments(before, last, (x.size, y.size, z.size)) if last > 0 else 0.0


def growth(axis: Axis, key: CountKey, points: Iterable[Point]) -> Growth:
    """The growth over points in any order; of two at the same size the larger peak counts."""
    largest: dict[int, Point] = {}
    for point in points:
        known = largest.get(point.size)
        if known is None or point.peak_bytes > known.peak_bytes:
            largest[point.size] = point
    rising = tuple(largest[size] for size in sorted(largest))
    triple = chosen_triple(rising)
    per_unit = per_token = None
    if len(rising) > 1:
        y, z = triple[1:] if triple is not None else rising[-2:]
        grown = z.peak_bytes - y.peak_bytes
        per_unit = grown / (z.size - y.size)
        if z.kv_tokens > y.kv_tokens:
            per_token = grown / (z.kv_tokens - y.kv_tokens)
    return Growth(
        axis=axis,
        key=key,
        points=rising,
        order=None if triple is None else order_of(*triple),
        at_least=least_order(rising),
        bytes_per_unit=per_unit,
        bytes_per_kv_token=per_token,
    )


def growths(records: Iterable[CountRecord], axes: Sequence[Axis] = AXES) -> list[Growth]:
    """One growth for each axis and for all that is the same but for that axis; what was not counted is left
    out. Sorted by axis, then as the records come."""
    counted = [(record.key, record.peak) for record in records if record.peak is not None]
    found = []
    for axis in axes:
        series: dict[str, list[tuple[CountKey, Point]]] = defaultdict(list)
        for key, peak in counted:
            series[_without(key, axis)].append((key, point_of(peak, size_on(key, axis))))
        for members in series.values():
            last = max(members, key=lambda member: member[1].size)[0]
            found.append(growth(axis, last, (point for _, point in members)))
    return found


def size_on(key: CountKey, axis: Axis) -> int:
    """The scenario's size on an axis."""
    return key.frames if axis == "frames" else key.height * key.width


def point_of(peak: Peak, size: int) -> Point:
    """A counted peak as a point."""
    return Point(
        size=size,
        peak_bytes=peak.peak_bytes,
        resting_bytes=peak.resting_bytes,
        site=(peak.phase, peak.peak_site),
        kv_tokens=peak.kv_tokens,
        tensors=sum(group.count for group in peak.alive if group.kind not in _WEIGHTS),
        alive=peak.alive,
    )


def _without(key: CountKey, axis: Axis) -> str:
    """All of a key but its size on the axis, as text that is equal where that is."""
    left_out = {"frames": 0} if axis == "frames" else {"height": 0, "width": 0}
    return key.model_copy(update=left_out).digest


def law(growth: Growth) -> str:
    """The growth in words: ``peak = 5.9 GiB + 112 KiB · KV tokens (14.7 MiB per frame)``."""
    order, unit = growth.order, growth.axis.removesuffix("s")
    if order is None or order.value is None:
        sizes = " → ".join(f"{bytes_text(p.peak_bytes)} at {p.size}" for p in growth.points)
        return f"peak = {sizes} {growth.axis}, no law"
    last = next(point for point in growth.points if point.size == order.sizes[2])
    text = _law(growth, order, last, unit)
    return text + (" (of peaks at different lines, so uncertain)" if order.mixed else "")


def _law(growth: Growth, order: Order, last: Point, unit: str) -> str:
    assert order.value is not None
    if order.trend in ("flat", "falls"):
        return f"peak = {bytes_text(last.peak_bytes)}, whatever the {growth.axis}"
    if order.trend == "levels off":
        return f"peak = {bytes_text(last.peak_bytes)} from {order.sizes[1]} {growth.axis} on"
    power = round(order.value)
    per_unit = growth.bytes_per_unit or 0.0
    if power < 1 or abs(order.value - power) > WHOLE:
        where = f"from {order.sizes[1]} to {order.sizes[2]} {growth.axis}"
        return f"peak grows as {growth.axis}^{order.value:.2f}, by {bytes_text(per_unit)} per {unit} {where}"
    if power > 1:
        each = (order.peaks[2] - order.peaks[1]) / (order.sizes[2] ** power - order.sizes[1] ** power)
        fixed = last.peak_bytes - each * last.size**power
        return f"peak = {_fixed(fixed)} + {bytes_text(each)} · {growth.axis}^{power}"
    if growth.bytes_per_kv_token is not None:
        fixed = last.peak_bytes - growth.bytes_per_kv_token * last.kv_tokens
        tokens = f"{bytes_text(growth.bytes_per_kv_token)} · KV tokens"
        return f"peak = {_fixed(fixed)} + {tokens} ({bytes_text(per_unit)} per {unit})"
    return f"peak = {_fixed(last.peak_bytes - per_unit * last.size)} + {bytes_text(per_unit)} per {unit}"


def _fixed(amount: float) -> str:
    return bytes_text(max(0.0, amount))


@dataclass(frozen=True, slots=True)
class Fit:
    """How many frames fit, and how that is known.

    ``none``: not even the fewest frames that were counted, which ``frames`` says. ``between``: on the line
    between two counted sizes. ``beyond``: on the law continued beyond the last. ``any``: the peak does not
    grow. ``at least``: the last that was counted fits, and no law says what comes after it.
    """

    frames: int
    how: Literal["none", "between", "beyond", "any", "at least"]


def frames_that_fit(growth: Growth, budget_bytes: int) -> Fit:
    """The most frames within a budget by the counted peaks over frames and their law; counts no more."""
    points = growth.points
    over = next((i for i, point in enumerate(points) if point.peak_bytes > budget_bytes), None)
    if over == 0:
        return Fit(points[0].size, "none")
    if over is not None:
        below, above = points[over - 1], points[over]
        share = (budget_bytes - below.peak_bytes) / (above.peak_bytes - below.peak_bytes)
        return Fit(min(above.size - 1, below.size + int(share * (above.size - below.size))), "between")
    last, order = points[-1], growth.order
    if order is None or order.value is None:
        return Fit(last.size, "at least")
    if order.trend in ("flat", "falls"):
        return Fit(last.size, "any" if growth.reaches_end else "at least")
    slope = growth.bytes_per_unit
    if order.trend == "levels off" and slope == 0 and growth.reaches_end:
        return Fit(last.size, "any")
    if not growth.reaches_end or order.value > 1 + WHOLE or slope is None or slope <= 0:
        return Fit(last.size, "at least")
    return Fit(last.size + int((budget_bytes - last.peak_bytes) / slope), "beyond")
