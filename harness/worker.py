"""Measure one cell and write its record: ``python -m harness.worker --cell FILE --out DIR``.

Local processes, SLURM and Ray all schedule this. An exception inside the cell is its outcome, not the
worker's: the exit status is 0 once a record is written, and otherwise one of
:class:`harness.errors.ExitCode`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import environment
from harness.errors import (
    HarnessError,
    InfrastructureError,
    UsageError,
    is_disk_full,
    is_out_of_memory,
    storable,
    text_of,
)
from harness.inputs import inputs_now
from harness.journal import journal_path
from harness.plan import CellJob
from harness.records import Environment, Failed, FailureKind, Ok, Outcome, Record, SampleOutcome
from harness.sites import raising_line
from harness.store import Store

if TYPE_CHECKING:
    from harness.measure.cell import CellResult

Progress = Callable[[str], None]
Measure = Callable[[CellJob, Progress], "CellResult"]

MEASURE = "harness.measure.cell:measure_cell"
"""The function that measures a cell, as ``module:name``."""


def load_function(name: str) -> Any:
    """The function named ``module:name``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def measure_cell_file(cell: str, out: str, measure: str, progress: Progress, where: Environment) -> None:
    """Measure the cell of a cell file's text, in this process, into a run's folder."""
    run_job(CellJob.from_json(cell), Store(Path(out)), measure, progress, where)


def run_job(job: CellJob, store: Store, measure: str, progress: Progress, where: Environment) -> Record:
    """Measure the cell, write its record and return it; its journal stays where it failed.

    Raises InfrastructureError when the record, or anything that the cell itself writes, meets a full disk.
    """
    started = Started(job)
    journal = journal_path(store.samples_dir, job.key.digest)
    outcome, samples = attempt(dataclasses.replace(job, journal=journal), measure, progress)
    try:
        record = store.write(started.record(where, outcome), samples)
        if isinstance(outcome, Ok):
            journal.unlink(missing_ok=True)
        return record
    except ValueError as error:
        failed = Failed(failure="error", message=f"unusable measures: {error}")
        return store.write(started.record(where, failed))


class Started:
    """A cell that begins now: its inputs as they are, and its clock."""

    def __init__(self, job: CellJob) -> None:
        self._key = job.key
        self._inputs = inputs_now(job)
        self._started_at = datetime.now(UTC)
        self._begin = time.perf_counter()

    def record(self, where: Environment, outcome: Outcome) -> Record:
        return Record(
            key=self._key,
            environment=where,
            inputs=self._inputs,
            outcome=outcome,
            started_at=self._started_at.isoformat(timespec="seconds"),
            duration_s=round(time.perf_counter() - self._begin, 3),
        )


def attempt(job: CellJob, measure: str, progress: Progress) -> tuple[Outcome, Sequence[SampleOutcome]]:
    """What measuring the cell comes to: its measures, or how it failed."""
    try:
        function: Measure = load_function(measure)
        result = function(job, progress)
    except Exception as error:
        return failed_by(error), ()
    return Ok(measures=result.measures), result.samples


def failed_by(error: Exception) -> Failed:
    """The outcome of what ended in an exception; raises InfrastructureError for a full disk."""
    if is_disk_full(error):
        raise InfrastructureError(
            f"the disk is full ({error}); free some space and run the same command again to go on"
        ) from error
    trace = storable("".join(traceback.format_exception(error)))
    return Failed(failure=failure_kind(error), message=describe(error), traceback=trace)


def describe(error: Exception) -> str:
    """An exception in words, with the line that raised it unless it is the harness's own; its text may be
    missing, fail to be made, or be no valid Unicode."""
    text = text_of(error)
    if isinstance(error, HarnessError):
        return text
    line = raising_line(error)
    named = f"{type(error).__name__} at {line}" if line else type(error).__name__
    return f"{named}: {text}" if text else named


def failure_kind(error: Exception) -> FailureKind:
    """Which kind of failure an exception is."""
    if is_out_of_memory(error):
        return "out_of_memory"
    if "NonFiniteError" in {base.__name__ for base in type(error).__mro__}:
        return "non_finite"
    return "error"


def main(arguments: Sequence[str] | None = None) -> int:
    """The plain command. Progress and errors go to standard error."""
    parser = argparse.ArgumentParser(prog="python -m harness.worker", description="Measure one cell.")
    parser.add_argument("--cell", type=Path, required=True, help="cell file written by `harness eval`")
    parser.add_argument("--out", type=Path, required=True, help="run folder that gets the record")
    parser.add_argument("--measure", default=MEASURE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        job = read_cell(options.cell)
        store = Store(options.out).open()
        where = environment.describe(device=job.key.device, threads=job.threads)
        record = run_job(job, store, options.measure, _say, where)
    except HarnessError as error:
        _say(f"error: {error}")
        return int(error.exit_code)
    _say(f"{job.key.digest}: {summary(record.outcome)}")
    return 0


def read_cell(path: Path) -> CellJob:
    """The job in a cell file; raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cell file {str(path)!r} cannot be read: {error}") from error
    try:
        return CellJob.from_json(text)
    except UsageError as error:
        raise UsageError(f"cell file {str(path)!r}: {error}") from error


def summary(outcome: Outcome) -> str:
    """An outcome in one line."""
    if isinstance(outcome, Ok):
        return "measured"
    if isinstance(outcome, Failed):
        lines = outcome.message.splitlines()
        return f"failed ({outcome.failure}): {lines[0] if lines else ''}"
    return f"skipped: {outcome.reason}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
