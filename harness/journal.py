"""Answers on disk as soon as they are given: what is left of a cell whose process dies, and where it goes on.

``<run>/samples/<digest>.journal.jsonl`` holds a line that says what the answers belong to, and then one line
per answered question. It is there while a cell is being measured and after it has failed; a measured cell
has its sidecar instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

import harness
from harness.files import replace_file
from harness.records import SampleOutcome


def journal_path(samples: Path, digest: str) -> Path:
    """The journal of a cell in a run's folder of samples."""
    return samples / f"{digest}.journal.jsonl"


class Journal:
    """Outcomes appended and synced. ``path`` None keeps nothing.

    Answers of an earlier process count again where they belong to the same frames and the same version of the
    harness; those that were errors or ran out of memory do not.
    """

    def __init__(self, path: Path | None, frames_digest: str) -> None:
        self._path = path
        self._head = {"harness": harness.__version__, "frames_digest": frames_digest}
        self._kept: dict[tuple[str, str], SampleOutcome] = {}
        if path is not None:
            self._kept = {(one.sample, one.question): one for one in self._read(path) if one.counts}
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(self._head), *(one.model_dump_json() for one in self._kept.values())]
            replace_file(path, "".join(f"{line}\n" for line in lines).encode())

    def kept(self, sample: str, question: str) -> SampleOutcome | None:
        """What came of a question in an earlier process, if that counts."""
        return self._kept.get((sample, question))

    def add(self, outcomes: Iterable[SampleOutcome]) -> None:
        """Append outcomes; they are on disk when this returns."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(outcome.model_dump_json() + "\n" for outcome in outcomes)
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path) -> list[SampleOutcome]:
        outcomes = read_journal(path)
        return outcomes[1] if outcomes is not None and outcomes[0] == self._head else []


def read_journal(path: Path) -> tuple[dict[str, str], list[SampleOutcome]] | None:
    """A journal's first line and its outcomes up to a line that a kill cut off; None where there is none."""
    try:
        # At line feeds alone: an answer may hold the other characters that a text's lines end at.
        lines = path.read_bytes().split(b"\n")
        head = json.loads(lines[0])
    except (OSError, ValueError, IndexError):
        return None
    outcomes = []
    for line in lines[1:]:
        try:
            outcomes.append(SampleOutcome.model_validate_json(line))
        except ValidationError:
            break
    return head, outcomes
