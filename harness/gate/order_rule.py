"""Rule 1: at fixed text the measured order is at most the declared one and a tolerance.

An order counts as exceeded where the allocator's rounding cannot explain it. What cannot be told fails too,
with what to count: peaks that rise and fall, peaks at three different lines, fewer than three sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.counting.records import Mode
from harness.gate.checks import Check
from harness.gate.config import GateConfig
from harness.gate.culprits import Culprit, culprits
from harness.gate.names import growth_name
from harness.scaling import Axis, Growth, Order
from harness.units import bytes_text

LOOSE = 0.5
"""A declaration this much above what is measured claims too little."""

DeclaredOf = Callable[[str, Mode, Axis], float | None]
"""The declared order of a method in a mode over an axis; None for a method that declares none."""


def order_checks(growths: Sequence[Growth], declared: DeclaredOf, config: GateConfig) -> list[Check]:
    """One check for each growth at fixed text over a checked axis."""
    found = []
    for growth in growths:
        if growth.fixed_text and growth.axis in config.checked_axes:
            allowed = declared(growth.key.method, growth.key.mode, growth.axis)
            found.append(_order_check(growth, allowed, config))
    return found


def _order_check(growth: Growth, allowed: float | None, config: GateConfig) -> Check:
    name, order, axis = growth_name(growth), growth.order, growth.axis

    def failed(message: str, measured: float | None = None, blame: bool = False) -> Check:
        return Check(
            rule="order",
            status="failed",
            name=name,
            message=message,
            measured=measured,
            allowed=allowed,
            unit="order",
            culprits=_grown(growth) if blame else (),
        )

    if allowed is None:
        return failed(f"declares no order over {axis}; give one in [declared.{growth.key.method}]")
    if order is None:
        return failed(f"{len(growth.points)} size(s) were counted, an order needs 3")
    peaks = _peaks(order, axis)
    if order.value is None or order.low is None:
        return failed(f"peaks rise and fall: {peaks}; no order does that, count larger {axis}", blame=True)
    limit = allowed + config.tolerance.order
    if order.low > limit and not order.mixed:
        return failed(f"{_measured(order)}, declared {allowed:g}: {peaks}", order.value, blame=True)
    if growth.at_least > limit:
        return failed(
            f"order at least {growth.at_least:.2f} at the largest size, declared {allowed:g}: "
            + ", ".join(f"{bytes_text(p.peak_bytes)} at {p.size}" for p in growth.points[-3:])
            + f" {axis}",
            growth.at_least,
            blame=True,
        )
    if order.low > limit:
        return failed(
            f"order {order.value:.2f} over peaks at different lines, declared {allowed:g}: {peaks}; "
            f"count larger {axis} to have three at one line",
            order.value,
            blame=True,
        )
    return _passed_order(name, growth, order, allowed, config)


def _passed_order(name: str, growth: Growth, order: Order, allowed: float, config: GateConfig) -> Check:
    assert order.value is not None
    assert order.high is not None
    loose = growth.reaches_end and order.trend != "falls" and order.high <= allowed - LOOSE
    if loose and config.loose_declarations == "fail":
        return Check(
            rule="declaration",
            status="failed",
            name=name,
            message=f"declares order {allowed:g}, but {_measured(order)}; declare {round(order.value)}",
            measured=order.value,
            allowed=allowed,
            unit="order",
        )
    text = f"{_measured(order)}, declared {allowed:g}"
    if loose:
        text += f"; these sizes show {round(order.value)}"
    if not growth.reaches_end:
        text += f"; the peak at {growth.points[-1].size} {growth.axis} lies at another line"
    return Check(
        rule="order",
        status="noted" if loose or not growth.reaches_end else "passed",
        name=name,
        message=text,
        measured=order.value,
        allowed=allowed,
        unit="order",
    )


def _measured(order: Order) -> str:
    assert order.value is not None
    assert order.low is not None
    assert order.high is not None
    spread = ""
    if f"{order.low:.2f}" != f"{order.high:.2f}":
        spread = f" ({order.low:.2f} to {order.high:.2f} with the allocator's rounding)"
    return f"order {order.value:.2f}{spread}"


def _peaks(order: Order, axis: Axis) -> str:
    pairs = zip(order.peaks, order.sizes, strict=True)
    return ", ".join(f"{peak:,} bytes at {size}" for peak, size in pairs) + f" {axis}"


def _grown(growth: Growth) -> tuple[Culprit, ...]:
    """The tensors at the largest size, those that grew most since the size before first."""
    before, last = growth.points[-2:]
    return culprits(last.alive, before.alive)
