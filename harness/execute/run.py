"""An evaluation from its specification to the records of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import environment
from harness.errors import InfrastructureError
from harness.execute.observer import Observer
from harness.execute.process import PRELOAD, run_in_process, start_server
from harness.files import replace_files
from harness.journal import journal_path
from harness.plan import Plan, PlannedCell, make_plan
from harness.planned_models import NO_WEIGHTS
from harness.records import Failed, Record, Skipped
from harness.spec import EvalSpec
from harness.store import Store
from harness.worker import MEASURE, Started


def run_eval(
    spec: EvalSpec,
    observer: Observer | None = None,
    *,
    measure: str = MEASURE,
    preload: Sequence[str] = PRELOAD,
) -> list[Record]:
    """Measure the cells of ``spec`` that have no record yet; return all its records in the order of the plan.

    Raises UsageError for a specification that cannot be planned and InfrastructureError when records cannot
    be written; what is measured by then stays, and the same specification goes on from there.
    """
    start_server(preload, device=spec.device, tasks=spec.tasks)
    plan = make_plan(spec)
    return run_plan(plan, spec, observer or Observer(), measure)


def run_plan(plan: Plan, spec: EvalSpec, observer: Observer, measure: str = MEASURE) -> list[Record]:
    """Run the cells of a plan one after the other: side by side they would disturb each other's times."""
    store = Store(spec.out_dir).open()
    kept = {cell.key.digest for cell in plan.cells if spec.resume and _kept(cell, store) is not None}
    observer.begin(plan, kept)
    try:
        return [_ensure(cell, store, spec, observer, measure) for cell in plan.cells]
    finally:
        observer.end()


def write_cells(plan: Plan, out: Path) -> list[Path]:
    """Write a file for every cell to measure, so that ``python -m harness.worker`` can run elsewhere."""
    Store(out).open()
    folder = out / "cells"
    paths = []
    try:
        folder.mkdir(exist_ok=True)
        for cell in plan.cells:
            if cell.skip is None:
                path = folder / f"{cell.key.digest}.json"
                replace_files({path: (cell.job.to_json() + "\n").encode()})
                paths.append(path)
    except OSError as error:
        raise InfrastructureError(f"cannot write cell files to {str(folder)!r}: {error}") from error
    return paths


def _kept(cell: PlannedCell, store: Store) -> Record | None:
    """The cell's record where it need not be made again: measured, with at least one question that counts, or
    skipped for the same reason."""
    record = store.read(cell.key.digest)
    if record is None or isinstance(record.outcome, Failed):
        return None
    if isinstance(record.outcome, Skipped):
        return record if record.outcome.reason == cell.skip else None
    return None if record.outcome.measures.unscored else record


def _ensure(cell: PlannedCell, store: Store, spec: EvalSpec, observer: Observer, measure: str) -> Record:
    """The cell's record, measured unless one is kept.

    What is kept is asked again for each cell: another run in the same folder may have measured it by now.
    """
    record = _kept(cell, store) if spec.resume else None
    if record is None:
        observer.cell_started(cell)
        record = _run_cell(cell, store, spec, observer, measure)
        observer.cell_ended(record)
    _forget_skip(cell, store)
    return record


def _run_cell(cell: PlannedCell, store: Store, spec: EvalSpec, observer: Observer, measure: str) -> Record:
    job = cell.job
    started = Started(job)
    if cell.skip is not None:
        where = environment.describe(threads=job.threads)
        return store.write(started.record(where, Skipped(reason=cell.skip)))
    if not spec.resume:
        journal_path(store.samples_dir, cell.key.digest).unlink(missing_ok=True)
    ending = run_in_process(job, store.root, measure, spec.timeout_s, observer.stage, observer.tick)
    if ending.failed is None:
        written = store.read(cell.key.digest)
        if written is None:
            raise InfrastructureError(
                f"the record of cell {cell.key.digest} is gone from {str(store.root)!r} right after it was "
                "written; leave the folder alone while a run is at work"
            )
        return written
    where = ending.environment or environment.describe(threads=job.threads)
    return store.write(started.record(where, ending.failed))


def _forget_skip(cell: PlannedCell, store: Store) -> None:
    """Drop the note that this cell was skipped, made before its weights were trained."""
    if cell.key.weights != NO_WEIGHTS:
        earlier = cell.key.model_copy(update={"weights": NO_WEIGHTS}).digest
        if store.read(earlier) is not None:
            store.remove(earlier)
