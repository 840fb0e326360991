"""Counted records on disk: ``<run>/counted/<digest>.json``, each written whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.counting.records import COUNT_SCHEMA, CountRecord
from harness.files import remove_abandoned, replace_files, writing_to
from harness.schema import Upgrade, parsed
from harness.store import Problem, load_all, load_named

FOLDER = "counted"

UPGRADES: dict[int, Upgrade] = {}
"""From a schema version to the function that lifts a document to the next one."""


def write_counted(root: Path, records: Iterable[CountRecord]) -> None:
    """Put records in place; raises InfrastructureError where the folder cannot be written."""
    with writing_to(root):
        folder = root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        for record in records:
            text = record.model_dump_json(indent=1) + "\n"
            replace_files({folder / f"{record.key.digest}.json": text.encode()})


def load_counted(root: Path) -> tuple[list[CountRecord], list[Problem]]:
    """The records of a run, by method, mode, size and frames, and the files that hold none."""
    records, problems = load_all(root / FOLDER, _load)
    records.sort(key=_place)
    return records, problems


def _load(path: Path) -> CountRecord:
    return load_named(path, parse_counted, "scenario")


def parse_counted(text: str) -> CountRecord:
    """A counted record from JSON of this schema version or an older one; raises ValueError."""
    return parsed(CountRecord, text, COUNT_SCHEMA, UPGRADES)


def _place(record: CountRecord) -> tuple[str | int, ...]:
    key = record.key
    return key.method, key.mode, key.backbone, key.height, key.width, key.frames, key.digest
