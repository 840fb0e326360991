"""Where a block's numbers come from: the ``harness export`` that lists its records and no others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.counting.records import CountRecord
from harness.report.again import count_again, time_again
from harness.report.command import reproduce
from harness.report.document import Source
from harness.report.evidence import Evidence
from harness.report.frame import SETTING
from harness.report.labels import method_labels, resolution_label
from harness.report.points import rows_of
from harness.report.timed import TimedSize
from harness.timing.frame import labels_of, size_of

Row = Mapping[str, object]
Conditions = dict[str, list[object]]

TASK, PLACE, MODEL = ("task",), ("task", "frames", "resolution"), ("mode", "backbone", "resolution")
"""Columns that a command names even where all records of the run agree."""
_CELL = (*PLACE, *SETTING, "method", "seed", "weights", "digest")
_COUNTED = (
    "mode", "backbone", "dtype", "kernels", "text_tokens", "text_per_frame_tokens", "encode_batch",
    "optimizer", "resolution", "frames", "method", "digest",
)  # fmt: skip
_TIMING = (
    "task", "backbone", "weights", "dtype", "device", "threads", "seed", "resolution", "frames", "series",
    "digest",
)  # fmt: skip
"""Columns in the order in which they are asked for: digests where nothing else tells records apart."""


def cells_source(
    evidence: Evidence,
    digests: Collection[str],
    table: str = "cells",
    *,
    named: Collection[str] = TASK,
    measure: bool = True,
) -> Source:
    """Those cells, as rows of a table; ``measure`` for the commands that measure them too."""
    rows = rows_of(evidence.cells[list(dict.fromkeys(_CELL))])
    records = [one for digest, one in evidence.by_digest.items() if digest in digests] if measure else []
    return Source(
        records=(evidence.export(table, **conditions(rows, digests, _CELL, named)),),
        measure=tuple(reproduce(records, evidence.defaults)),
    )


def counted_source(evidence: Evidence, records: Sequence[CountRecord]) -> Source:
    """Those counted scenarios."""
    labels = method_labels([one.key for one in evidence.counted], evidence.defaults)
    rows = [_scenario(one, label) for one, label in zip(evidence.counted, labels, strict=True)]
    digests = {one.key.digest for one in records}
    return Source(
        records=(evidence.export("counted", **conditions(rows, digests, _COUNTED, MODEL)),),
        measure=tuple(count_again([one.key for one in records])),
    )


def timing_source(
    evidence: Evidence, digests: Collection[str], phases: Sequence[str], second: Sequence[str] = ()
) -> Source:
    """The ratios of those phases and the rounds behind them: to the ``second`` methods, or of every pair."""
    rows = [size_of(one) for one in evidence.timings]
    records = [one for one in evidence.timings if one.key.digest in digests]
    asked = conditions(rows, digests, _TIMING, TASK) | {"phase": list(phases)}
    pairs: Conditions = {"second": list(second)} if second else {}
    return Source(
        records=(
            evidence.export("ratios", **asked, **pairs),
            evidence.export("timings", **asked),
        ),
        measure=(time_again(records, evidence.run),),
    )


def rounds_source(evidence: Evidence, sizes: Sequence[TimedSize]) -> Source:
    """All rounds of sizes that differ in nothing else, and what failed there; of the methods in ``sizes``."""
    records = [one.record for one in sizes]
    digests = {one.key.digest for one in records}
    asked = conditions([size_of(one) for one in evidence.timings], digests, _TIMING, TASK)
    labels = zip(evidence.timings, labels_of(evidence.timings, evidence.defaults), strict=True)
    timed = {label for one, names in labels if one.key.digest in digests for label in names}
    shown = {label for one in sizes for label in (*one.times, *one.failed)}
    methods: Conditions = {"method": [*sorted(shown)]} if shown < timed else {}
    return Source(
        records=(evidence.export("timings", **asked, **methods),),
        measure=(time_again(records, evidence.run),),
    )


def joined(sources: Iterable[Source]) -> Source:
    """One source of what stands in one block, each command once."""
    every = list(sources)
    return Source(
        records=tuple(dict.fromkeys(line for one in every for line in one.records)),
        measure=tuple(dict.fromkeys(line for one in every for line in one.measure)),
    )


def conditions(
    rows: Sequence[Row], digests: Collection[str], columns: Sequence[str], named: Collection[str]
) -> Conditions:
    """Columns with the values to ask for so that exactly the rows with those digests are left.

    A column is asked for where it is ``named`` or where that leaves fewer of the rows.
    """
    wanted = [row for row in rows if row["digest"] in digests]
    left = list(rows)
    found: Conditions = {}
    for column in columns:
        values = {row[column] for row in wanted}
        kept = [row for row in left if row[column] in values]
        if column in named or len(kept) < len(left):
            found[column] = sorted(values, key=lambda value: _order(column, value))
        left = kept
    return found


def _order(column: str, value: object) -> tuple[object, ...]:
    """No data first, resolutions by their pixels."""
    text = column == "resolution" and isinstance(value, str)
    return (value is not None, *map(int, str(value).split("x"))) if text else (value is not None, value)


def _scenario(record: CountRecord, label: str) -> Row:
    key = record.key
    return {
        **key.model_dump(include={"mode", "backbone", "dtype", "kernels", "encode_batch", "optimizer"}),
        "text_tokens": key.text,
        "text_per_frame_tokens": key.text_per_frame,
        "resolution": resolution_label(key.height, key.width),
        "frames": key.frames,
        "method": label,
        "digest": key.digest,
    }
