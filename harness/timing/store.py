"""Timing records on disk: ``<run>/timings/<digest>.json``, each written whole."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from harness.errors import UsageError
from harness.store import NewerSchemaError, Problem, RecordError, record_text, replace_file, writing_to
from harness.timing.records import TIMING_SCHEMA, TimingRecord

FOLDER = "timings"


def open_timings(root: Path) -> None:
    """Make the folder; raises InfrastructureError when that is not possible."""
    with writing_to(root):
        (root / FOLDER).mkdir(parents=True, exist_ok=True)


def write_timing(root: Path, record: TimingRecord) -> None:
    """Put a record in place; raises InfrastructureError where the folder cannot be written, ValueError for a
    record that would not load again."""
    text = record_text(record)
    _parse(text)
    with writing_to(root):
        replace_file(root / FOLDER / f"{record.key.digest}.json", text.encode())


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
    records, problems = [], []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            records.append(_load(path))
        except RecordError as error:
            problems.append(Problem(path, str(error)))
    records.sort(key=_place)
    return records, problems


def _load(path: Path) -> TimingRecord:
    try:
        record = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RecordError(str(error)) from error
    if path.stem != record.key.digest:
        raise RecordError(f"it holds the timing {record.key.digest}, not the one it is named after")
    return record


def _parse(text: str) -> TimingRecord:
    document = json.loads(text)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > TIMING_SCHEMA:
        raise NewerSchemaError(
            f"schema version {version} is newer than {TIMING_SCHEMA}, the newest known here"
        )
    try:
        return TimingRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise ValueError(f"{where}: {first['msg']}") from error


def _place(record: TimingRecord) -> tuple[str | int, ...]:
    key = record.key
    return key.series, key.height, key.width, key.frames
