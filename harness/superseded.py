"""One record a cell: where a cell was measured with several weights, the newest trained ones count.

Weights are part of what a cell is, so a model that was trained again adds records to a run's folder and
replaces none. Averaging both would be the accuracy of no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.records import CellKey, Record, Skipped
from harness.store import Problem

RANDOM = "random"


def standing(records: Sequence[Record], run_dir: Path) -> tuple[list[Record], list[Problem]]:
    """The records that count, in their order, and of the others why they do not.

    Trained weights count before random ones, and measured or failed cells before skipped ones; of what is
    left, the one that was begun last.
    """
    last: dict[str, Record] = {}
    digests = [_but_for_weights(record.key) for record in records]
    for digest, record in zip(digests, records, strict=True):
        other = last.get(digest)
        if other is None or _rank(record) >= _rank(other):
            last[digest] = record
    kept, left_out = [], []
    for digest, record in zip(digests, records, strict=True):
        newest = last[digest]
        if record is newest:
            kept.append(record)
        else:
            path = run_dir / "records" / f"{record.key.digest}.json"
            left_out.append(Problem(path, _reason(record, newest)))
    return kept, left_out


def _rank(record: Record) -> tuple[bool, bool, str]:
    skipped = isinstance(record.outcome, Skipped)
    return not skipped, record.key.weights != RANDOM, record.started_at


def _reason(record: Record, newest: Record) -> str:
    if newest.key.weights != RANDOM and record.key.weights == RANDOM:
        return f"random weights; the same cell was measured with trained ones ({newest.key.weights})"
    return (
        f"weights {record.key.weights}; the same cell was begun with others ({newest.key.weights}) on "
        f"{newest.started_at}, and no number is of two models"
    )


def _but_for_weights(key: CellKey) -> str:
    return key.model_copy(update={"weights": ""}).digest
