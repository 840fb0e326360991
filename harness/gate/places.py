"""From the line that allocated a tensor to a file of the repository."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from harness import registry
from harness.gate.checks import Check
from harness.gate.run import GateReport


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, relative to the root of the repository."""

    file: str
    line: int


def place_of(check: Check, root: Path, sources: Sequence[Path]) -> Place | None:
    """The first line that allocated and lies in the repository; the tensors that grew most come first."""
    for culprit in check.culprits:
        found = locate(culprit.alive.where, root, sources)
        if found is not None:
            return found
    return None


def locate(where: str, root: Path, sources: Sequence[Path]) -> Place | None:
    """``FILE:LINE`` in the repository at ``root``; FILE is absolute, relative to it or to the working
    directory, or the last part of the path of one of the ``sources``."""
    name, _, line = where.rpartition(":")
    if not name or not line.isdecimal():
        return None
    tail = PurePath(name).parts
    candidates = [
        root / name,
        Path(name).absolute(),
        *(file for file in sources if file.parts[-len(tail) :] == tail),
    ]
    for file in candidates:
        inside = relative(file, root)
        if inside is not None and file.is_file():
            return Place(inside, int(line))
    return None


def relative(file: Path, root: Path) -> str | None:
    """The path from the root, with slashes; None for a file outside."""
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return None


def source_files(report: GateReport) -> tuple[Path, ...]:
    """The files that define the methods of a run."""
    return tuple(dict.fromkeys(_source_files({record.key.method for record in report.records})))


def _source_files(methods: Iterable[str]) -> Iterable[Path]:
    for name in sorted(methods):
        if name in registry.methods:
            try:
                yield Path(inspect.getfile(registry.methods.get(name)))
            except (TypeError, OSError):
                continue
