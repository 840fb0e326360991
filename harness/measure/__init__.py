"""Everything that measures one cell: accuracy, peak memory, latency and FLOPs.

Nothing here branches on a method or a task. The entry point is ``measure_cell`` in
:mod:`harness.measure.cell`.
"""

from __future__ import annotations

from harness.vlm import NonFiniteError

__all__ = ["NonFiniteError"]
