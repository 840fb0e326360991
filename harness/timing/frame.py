"""Timing records as tidy data frames: one row per round, and one row per pair of methods with its ratio.

Times are in milliseconds; no data is NaN or None.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import MappingProxyType

import pandas as pd

from harness.records import Failed
from harness.report.labels import Defaults, method_labels, resolution_label
from harness.stats.ratios import paired_ratio
from harness.timing.labels import numbered
from harness.timing.records import PHASES, Timed, TimingRecord

SIZE_COLUMNS: dict[str, str] = {
    "frames": "frames of the stream",
    "height": "pixels",
    "width": "pixels",
    "resolution": "label: the side in pixels, or height x width where they differ",
    "backbone": "registered name or folder",
    "task": "where the stream is from",
    "weights": "trained or random",
    "seed": "seed of the models",
    "device": "cpu, cuda or cuda:N",
    "dtype": "precision",
    "threads": "CPU threads",
    "series": "what sizes share that differ in frames, height and width only",
    "digest": "names the record's file",
}
TIMING_COLUMNS: dict[str, str] = {
    "method": "label; a second copy of a method ends in #2",
    "method_name": "registered name",
    "phase": "prefill, per_frame or per_token; None where the method failed",
    "round": "from 0; equal rounds of one digest and phase are pairs",
    "ms": "milliseconds of one repetition",
    "inner": "repetitions that ms is the mean of",
    **SIZE_COLUMNS,
    "outcome": "ok or failed",
    "failure": "kind of failure",
    "message": "first line of the failure's message",
}
RATIO_COLUMNS: dict[str, str] = {
    "first": "label of the method whose time is above the line",
    "second": "label of the method whose time is below the line",
    "phase": "prefill, per_frame or per_token",
    **SIZE_COLUMNS,
    "ratio": "median over rounds of first / second",
    "low": "lower end of the 95 % interval; NaN with one round",
    "high": "upper end of the 95 % interval; NaN with one round",
    "rounds": "pairs of times",
}


def timings_to_frame(
    records: Sequence[TimingRecord], defaults: Defaults = MappingProxyType({})
) -> pd.DataFrame:
    """One row per method, phase and round, or one per method that failed: :data:`TIMING_COLUMNS`.

    For ``defaults`` see :func:`harness.report.labels.method_labels`.
    """
    rows: list[dict[str, object]] = []
    for record, labels in zip(records, labels_of(records, defaults), strict=True):
        size = size_of(record)
        for label, method, outcome in zip(labels, record.key.methods, record.outcomes, strict=True):
            known = {"method": label, "method_name": method.method, **size, "outcome": outcome.kind}
            if isinstance(outcome, Failed):
                message = next(iter(outcome.message.splitlines()), "")
                rows.append(known | {"failure": outcome.failure, "message": message})
                continue
            rows += [
                known | {"phase": phase, "round": index, "ms": ms, "inner": outcome.phases[phase].inner}
                for phase in PHASES
                for index, ms in enumerate(outcome.phases[phase].raw_ms)
            ]
    return pd.DataFrame(rows, columns=list(TIMING_COLUMNS))


def ratios(records: Sequence[TimingRecord], defaults: Defaults = MappingProxyType({})) -> pd.DataFrame:
    """One row per pair of methods, phase and size at which both were timed: :data:`RATIO_COLUMNS`.

    Each pair stands once, in the order of the record's methods; exchanged, it is the reciprocal. There is no
    time to first token: encoding is the same for all methods and is not part of the rounds.
    """
    rows: list[dict[str, object]] = []
    for record, labels in zip(records, labels_of(records, defaults), strict=True):
        size = size_of(record)
        for (first, one), (second, two) in itertools.combinations(_timed(record, labels), 2):
            for phase in PHASES:
                found = paired_ratio(one.phases[phase].raw_ms, two.phases[phase].raw_ms)
                rows.append(
                    {
                        "first": first,
                        "second": second,
                        "phase": phase,
                        **size,
                        "ratio": found.ratio,
                        "low": found.low,
                        "high": found.high,
                        "rounds": found.rounds,
                    }
                )
    return pd.DataFrame(rows, columns=list(RATIO_COLUMNS))


def labels_of(
    records: Sequence[TimingRecord], defaults: Defaults = MappingProxyType({})
) -> list[tuple[str, ...]]:
    """One label per method of each record; the same method has the same label in all of them."""
    keys = [method for record in records for method in record.key.methods]
    labels = iter(method_labels(keys, defaults))
    return [numbered(list(itertools.islice(labels, len(record.key.methods)))) for record in records]


def _timed(record: TimingRecord, labels: Sequence[str]) -> Iterator[tuple[str, Timed]]:
    for label, outcome in zip(labels, record.outcomes, strict=True):
        if isinstance(outcome, Timed):
            yield label, outcome


def size_of(record: TimingRecord) -> dict[str, object]:
    """What all rows of a record share: :data:`SIZE_COLUMNS`."""
    key = record.key
    values = key.model_dump(include=set(SIZE_COLUMNS))
    weights = "random" if all(method.weights == "random" for method in key.methods) else "trained"
    derived = {
        "resolution": resolution_label(key.height, key.width),
        "weights": weights,
        "series": key.series,
        "digest": key.digest,
    }
    return {name: (values | derived)[name] for name in SIZE_COLUMNS}
