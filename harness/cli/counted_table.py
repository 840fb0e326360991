"""The table of counted peaks, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TextIO

from rich.table import Table
from rich.text import Text

from harness.cli.table import NONE, new_table, show_table
from harness.counting.records import CountRecord, Peak
from harness.plan import method_label
from harness.units import bytes_text, operations_text

_COLUMNS = (
    "peak",
    "above resting",
    "phase",
    "kv bytes",
    "kv tokens",
    "kv / declared",
    "operations",
    "op. / declared",
    "moved / least",
    "route",
)


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
            _ratio(peak, "kv_bytes", digits=4),
            NONE if peak.counted.flops is None else operations_text(peak.counted.flops),
            _ratio(peak, "flops", digits=4),
            _ratio(peak, "bytes_moved", digits=1),
            " ".join(peak.routes),
        ]
    table.add_row(*map(Text, start + cells))


def _ratio(peak: Peak, quantity: Literal["kv_bytes", "flops", "bytes_moved"], digits: int) -> str:
    """Counted over analytic; none where nothing is declared."""
    counted: int | None = getattr(peak.counted, quantity)
    declared: int | None = getattr(peak.analytic, quantity, None)
    return f"{counted / declared:.{digits}f}" if counted is not None and declared else NONE
