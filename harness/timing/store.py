"""Timing records on disk: ``<run>/timings/<digest>.json``, each written whole."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.files import remove_abandoned, replace_files, writing_to
from harness.schema import NewerSchemaError, Upgrade, parsed
from harness.store import Problem, RecordError, load_all, load_named, record_text
from harness.timing.records import TIMING_SCHEMA, TimingRecord

FOLDER = "timings"

UPGRADES: dict[int, Upgrade] = {}
"""From a schema version to the function that lifts a document to the next one."""


def open_timings(root: Path) -> None:
    """Make the folder; raises InfrastructureError when that is not possible."""
    with writing_to(root):
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        remove_abandoned(root / FOLDER)


def write_timing(root: Path, record: TimingRecord) -> None:
    """Put a record in place; raises InfrastructureError where the folder cannot be written, ValueError for a
    record that would not load again."""
    text = record_text(record)
    _parse(text)
    with writing_to(root):
        replace_files({root / FOLDER / f"{record.key.digest}.json": text.encode()})


def read_timing(root: Path, digest: str) -> TimingRecord | None:
    """The record of a size, or None when there is none that counts.

    Raises UsageError for one of a newer harness, which timing again would overwrite.
    """
    path = root / FOLDER / f"{digest}.json"
    try:
        return _load(path)
    except FileNotFoundError:
        return None
    except RecordError as error:
        if isinstance(error.__cause__, NewerSchemaError):
            raise UsageError(
                f"{str(path)!r} was written by a newer harness ({error}); "
                "install that one, or choose another folder with --out"
            ) from error
        return None


def load_timings(root: Path) -> tuple[list[TimingRecord], list[Problem]]:
    """The timing records of a run by methods, resolution and frames, and the files that hold none."""
    records, problems = load_all(root / FOLDER, _load)
    records.sort(key=_place)
    return records, problems


def _load(path: Path) -> TimingRecord:
    return load_named(path, _parse, "timing")


def _parse(text: str) -> TimingRecord:
    return parsed(TimingRecord, text, TIMING_SCHEMA, UPGRADES)


def _place(record: TimingRecord) -> tuple[str | int, ...]:
    key = record.key
    return key.series, key.height, key.width, key.frames
