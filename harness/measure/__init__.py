"""Everything that measures one cell: accuracy, peak memory, latency and FLOPs.

Nothing here branches on a method or a task. The entry point is :func:`harness.measure.cell.measure_cell`, which is
imported from its own module so that this package stays light.
"""

from __future__ import annotations

from harness.errors import HarnessError


class NonFiniteError(HarnessError):
    """A model produced NaN or infinite logits; the cell is recorded as ``non_finite``."""
