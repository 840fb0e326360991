"""The table of counted peaks, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.table import Table
from rich.text import Text

from harness.cli.table import NONE, new_table, show_table
from harness.counting.records import Cost, CountRecord, Peak
from harness.plan import method_label
from harness.units import bytes_text, operations_text

_COLUMNS = ("peak", "above resting", "phase", "kv bytes", "kv tokens", "kv / declared", "operations", "route")


def print_counted(records: Sequence[CountRecord], stream: TextIO) -> None:
    """One row per scenario."""
    table = new_table(stream)
    for name in ("method", "mode"):
        table.add_column(name, no_wrap=True)
    for name in ("frames", "pixels", *_COLUMNS):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        key = record.key
        start = [method_label(key), key.mode, str(key.frames), f"{key.height}x{key.width}"]
        _add(table, start, record.peak)
    show_table(table, stream)


def _add(table: Table, start: list[str], peak: Peak | None) -> None:
    if peak is None:
        cells = ["not counted"] + [NONE] * (len(_COLUMNS) - 1)
    else:
        cells = [
            bytes_text(peak.peak_bytes),
            bytes_text(peak.peak_bytes - peak.resting_bytes),
            peak.phase,
            bytes_text(peak.counted.kv_bytes) if peak.state_bytes else NONE,
            f"{peak.kv_tokens:,}" if peak.state_bytes else NONE,
            _ratio(peak.counted, peak.analytic),
            NONE if peak.counted.flops is None else operations_text(peak.counted.flops),
            " ".join(peak.routes),
        ]
    table.add_row(*map(Text, start + cells))


def _ratio(counted: Cost, analytic: Cost | None) -> str:
    if analytic is None or not analytic.kv_bytes:
        return NONE
    return f"{counted.kv_bytes / analytic.kv_bytes:.4f}"
