"""Rows of interleaved timings: one per method, phase and round, or one per pair of methods with its ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UsageError
from harness.report.labels import Defaults, default_configs
from harness.report.points import rows_of
from harness.store import Problem
from harness.timing.frame import ratios, timings_to_frame
from harness.timing.records import TimingRecord
from harness.timing.store import FOLDER, load_timings


def both_ways(records: Sequence[TimingRecord], defaults: Defaults) -> pd.DataFrame:
    """The ratios of :func:`harness.timing.frame.ratios`, each pair in both orders, so that any method can be
    asked for below the line."""
    pairs = ratios(records, defaults)
    turned = pairs.assign(
        first=pairs["second"],
        second=pairs["first"],
        ratio=1 / pairs["ratio"],
        low=1 / pairs["high"],
        high=1 / pairs["low"],
    )
    return pd.concat([pairs, turned], ignore_index=True)


FRAMES = {"timings": timings_to_frame, "ratios": both_ways}
"""What makes each table of timing records and of the methods' default configs."""


def timed_rows(run: Path, table: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The rows of ``timings`` or ``ratios``, and the files that hold none; raises UsageError without a folder
    of them."""
    if not (run / FOLDER).is_dir():
        raise UsageError(
            f"{str(run)!r} holds no folder {FOLDER!r}; give the folder that `harness time --out` wrote to"
        )
    records, problems = load_timings(run)
    defaults = default_configs({method.method for record in records for method in record.key.methods})
    return rows_of(FRAMES[table](records, defaults)), problems
