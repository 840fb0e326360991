"""Declared orders beside those that a run's counted records show, by the gate's own rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.counting.records import CountRecord
from harness.gate.checks import Check
from harness.gate.config import LEAST_SIZES, GateConfig
from harness.gate.order_rule import order_checks
from harness.gate.run import declarations
from harness.report.text import numbered
from harness.scaling import AXES, Growth, growths

CONFIG = GateConfig(axes=AXES)
"""The gate's default tolerance, over both axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One growth with the rule's word on it; ``check`` is None where the rule has nothing to say: text comes
    with the frames, sizes are too few, or the method is not registered here."""

    growth: Growth
    check: Check | None

    @property
    def within_rounding(self) -> bool:
        """Whether the order holds only because the allocator's rounding can explain what is above it."""
        if self.check is None or self.check.failed or self.check.measured is None:
            return False
        return self.check.measured > (self.check.allowed or 0.0) + CONFIG.tolerance.order


def declared_orders(counted: Sequence[CountRecord]) -> list[Declared]:
    """Every growth of a run with at least two sizes."""
    registry.discover()
    declared = declarations(CONFIG, Path())
    found = []
    for growth in growths(counted):
        if len(growth.points) < 2:
            continue
        known = growth.key.method in registry.methods and len(growth.points) >= LEAST_SIZES
        checks = order_checks([growth], declared, CONFIG) if known else []
        found.append(Declared(growth=growth, check=checks[0] if checks else None))
    return found


def orders_in_words(found: Sequence[Declared]) -> list[str]:
    """How many declared orders hold, and each that does not with both numbers."""
    checks = [one.check for one in found if one.check is not None]
    if not checks:
        return []
    failed = [check for check in checks if check.failed]
    rule = f"by the gate's order rule with its tolerance of {CONFIG.tolerance.order:g}"
    rounded = sum(one.within_rounding for one in found)
    if rounded:
        rule += f" ({rounded} of them within the allocator's rounding at these sizes)"
    if not failed:
        hold = "The declared order of memory holds"
        if len(checks) > 1:
            hold = f"All {len(checks)} declared orders of memory hold"
        return [f"{hold} in the counted records, {rule}."]
    lines = [
        f"{len(failed)} of {numbered(len(checks), 'declared order')} of memory "
        f"{'does' if len(failed) == 1 else 'do'} not hold in the counted records, {rule}:"
    ]
    return lines + [f"{check.name}: {check.message}{_excess(check)}." for check in failed]


def _excess(check: Check) -> str:
    if check.measured is None or check.allowed is None:
        return ""
    return f"; above the declaration by {check.measured - check.allowed:.2f}"
