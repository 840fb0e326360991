"""Running a plan: one process per cell, so that a crash, a hang or lack of memory is data about one cell."""

from harness.execute.run import run_eval

__all__ = ["run_eval"]
