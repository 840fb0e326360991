"""What the rules say: one check for each thing compared, and the notes beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.gate.culprits import Culprit

Rule = Literal["order", "declaration", "bytes", "ratio", "baseline", "counting"]
"""declaration: the order declared is far above the measured one. baseline: a cell lacks in the baseline or in
the run. counting: a cell could not be counted."""
Status = Literal["passed", "failed", "better", "noted"]
"""better: passed with fewer bytes than the baseline's. noted: worth saying, and no failure."""
Unit = Literal["order", "bytes", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule applied to one thing."""

    rule: Rule
    status: Status
    name: str
    """Of the cell or the growth."""
    message: str
    """One line; for a failure with both numbers and the fix."""
    measured: float | None = None
    allowed: float | None = None
    unit: Unit = "bytes"
    culprits: tuple[Culprit, ...] = ()
    digest: str | None = None
    """Of the cell, where the check is about one."""

    @property
    def failed(self) -> bool:
        return self.status == "failed"
