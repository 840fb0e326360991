"""What a run tells of itself while it is at work."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.plan import Plan, PlannedCell
    from harness.records import Record


class Observer:
    """Told of every step of a run; this one stays silent."""

    def begin(self, plan: Plan, kept: AbstractSet[str]) -> None:
        """``kept`` are the digests of the cells that need not be measured again."""

    def cell_started(self, cell: PlannedCell) -> None:
        """A cell begins."""

    def stage(self, text: str) -> None:
        """What the cell under way does now."""

    def tick(self) -> None:
        """Time has passed."""

    def cell_ended(self, record: Record) -> None:
        """A cell has its record."""

    def end(self) -> None:
        """No more cells are measured: all have their record, or the run was stopped."""
