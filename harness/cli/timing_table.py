"""The table of interleaved timings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TextIO

from rich.text import Text

from harness.cli.table import NONE, new_table, show_table
from harness.records import Failed
from harness.stats.ratios import paired_ratio
from harness.timing.labels import names_of
from harness.timing.records import PHASES, Phase, Rounds, Timed, TimingRecord

_HEADINGS: dict[Phase, str] = {"prefill": "prefill", "per_frame": "per frame", "per_token": "per token"}


def print_timings(records: Sequence[TimingRecord], stream: TextIO) -> None:
    """One row per method and size: median and quartiles, and the ratio to the first method that was timed."""
    table = new_table(stream)
    table.add_column("method", no_wrap=True)
    for name in ("frames", "pixels"):
        table.add_column(name, justify="right", no_wrap=True)
    for phase in PHASES:
        table.add_column(f"{_HEADINGS[phase]} ms [quartiles]", justify="right", no_wrap=True)
        table.add_column("/ first [95 %]", justify="right", no_wrap=True)
    for record in records:
        timed = [outcome for outcome in record.outcomes if isinstance(outcome, Timed)]
        for name, outcome in zip(names_of(record.key), record.outcomes, strict=True):
            cells = [name, str(record.key.frames), f"{record.key.height}x{record.key.width}"]
            if isinstance(outcome, Failed):
                cells += [f"failed: {outcome.failure}"] + [NONE] * (2 * len(PHASES) - 1)
            else:
                cells += itertools.chain.from_iterable(
                    _cells(outcome.phases[phase], timed[0].phases[phase]) for phase in PHASES
                )
            table.add_row(*map(Text, cells))
    show_table(table, stream)


def _cells(one: Rounds, first: Rounds) -> tuple[str, str]:
    low, high = one.timing.quartiles_ms
    time = f"{one.timing.median_ms:.2f} [{low:.2f}, {high:.2f}]"
    if one is first:
        return time, NONE
    ratio = paired_ratio(one.raw_ms, first.raw_ms)
    if math.isnan(ratio.low):
        return time, f"{ratio.ratio:.2f}"
    return time, f"{ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
