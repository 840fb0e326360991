"""From run folders to one typed data frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import pandas as pd

from harness.errors import NothingMeasuredError, UsageError, unknown
from harness.export.columns import TABLES, Columns, column
from harness.export.counted import counted_rows
from harness.export.select import Selection
from harness.export.timed import FRAMES, timed_rows
from harness.export.where import Row, Where, plain
from harness.inputs import given
from harness.records import Ok, Record
from harness.report.frame import CELL_COLUMNS, IDENTITY, POINT, ROW_ORDER, SETTING, cell_rows, kind_rows
from harness.report.labels import default_configs
from harness.report.points import over_models, rows_of
from harness.store import Problem, Store, load_records, uncollected

Progress = Callable[[str], None]
T = TypeVar("T")

_OF_CELLS = frozenset({"run", *IDENTITY})
"""Columns that mean the same in every table that is made of cells: what is asked of them selects cells."""


@dataclass(frozen=True, slots=True)
class Export:
    """A table, its columns' meaning, and the files that were left out of it."""

    table: str
    frame: pd.DataFrame
    problems: tuple[Problem, ...]

    @property
    def descriptions(self) -> dict[str, str]:
        """Column to meaning."""
        return {name: column(TABLES[self.table], name).description for name in self.frame.columns}


@uncollected()
def export_table(
    runs: Sequence[Path],
    table: str = "cells",
    selection: Selection = Selection(),  # noqa: B008 (frozen)
    progress: Progress = lambda line: None,
) -> Export:
    """The rows of a table in one or several run folders, in a stable order.

    No data is NA. ``digest`` names a row's files, ``run`` the folder; both together name a cell where several
    folders are given. Raises UsageError for an unknown table, a folder that is not a run's, and a selection
    that names a column or value which the rows do not have; NothingMeasuredError where no row is left.
    """
    if table not in TABLES:
        raise unknown("table", table, TABLES)
    for condition in selection.where:
        column(TABLES[table], condition.column)
    if not runs:
        raise UsageError("no run is given; give at least one folder")
    runs = list({given(run): run for run in runs}.values())
    problems: list[Problem] = []
    loaded = [_load(run, table, problems, progress) for run in runs]
    every = [row for rows, _ in loaded for row in rows]
    early = [one for one in selection.where if _MAKERS[table] is _as_read or one.column in _OF_CELLS]
    wanted = _meeting(early, table, selection.rows(every), every)
    if not wanted:
        raise NothingMeasuredError(_nothing(runs, table, selection, problems))
    rows: list[Row] = []
    names = {given(run): (run, records) for run, (_, records) in zip(runs, loaded, strict=True)}
    for name, of_run in groupby(wanted, key=lambda row: str(row["run"])):
        run, records = names[name]
        progress(f"{name}: {table}")
        made = _MAKERS[table](list(of_run), records, Store(run), problems)
        rows += [{"run": name, **row} for row in made]
    rows = _meeting([one for one in selection.where if one not in early], table, rows, rows)
    if not rows:
        raise NothingMeasuredError(_nothing(runs, table, selection, problems))
    return Export(table, typed(rows, TABLES[table]), tuple(problems))


def _meeting(conditions: Sequence[Where], table: str, rows: list[Row], every: Sequence[Row]) -> list[Row]:
    """The rows that meet every condition, whose values some row of ``every`` has to have."""
    tests = [one.keeps(TABLES[table], every) for one in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def _nothing(runs: Sequence[Path], table: str, selection: Selection, problems: Sequence[Problem]) -> str:
    where = ", ".join(repr(given(run)) for run in runs)
    what = f" with {selection}" if str(selection) else ""
    left_out = "".join(f"; left out: {problem.path}: {problem.reason}" for problem in problems[:1])
    return f"nothing to export: no row of {table} in {where}{what}{left_out}"


def _load(
    run: Path, table: str, problems: list[Problem], progress: Progress
) -> tuple[list[Row], list[Record]]:
    """A run's rows to select from, and its records."""
    name = given(run)
    progress(f"{name}: records")
    if _MAKERS[table] is _as_read:
        rows, wrong = timed_rows(run, table) if table in FRAMES else counted_rows(run)
        problems += wrong
        return [{"run": name, **row} for row in rows], []
    records, wrong = load_records(run)
    problems += wrong
    # Labels depend on all records of a run, so that a selection never renames a method.
    cells = cell_rows(records, defaults=_defaults(records))
    return [{"run": name, **row} for row in _sorted(cells)], records


def _defaults(records: Sequence[Record]) -> dict[str, dict[str, object]]:
    return default_configs({record.key.method for record in records})


def _sorted(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    def place(row: Row) -> tuple[object, ...]:
        return tuple(row[name] for name in ROW_ORDER)

    return sorted(rows, key=place)


def _cells(rows: list[Row], records: list[Record], store: Store, problems: list[Problem]) -> list[Row]:
    clips = _of_answers(rows, records, store.clips, store, problems)
    return [{**row, "clips": clips.get(str(row["digest"]))} for row in rows]


def _kinds(rows: list[Row], records: list[Record], store: Store, problems: list[Problem]) -> list[Row]:
    wanted = {row["digest"] for row in rows}
    kept = [row for row in kind_rows(records, _defaults(records)) if row["digest"] in wanted]
    return list(_sorted(kept))


def _points(rows: list[Row], records: list[Record], store: Store, problems: list[Problem]) -> list[Row]:
    cells = pd.DataFrame.from_records(
        [dict(row) for row in _cells(rows, records, store, problems)], columns=list(CELL_COLUMNS)
    )
    made: list[Row] = []
    for setting, of_setting in cells.groupby(list(SETTING), sort=True, dropna=False):
        digests = of_setting.groupby(list(POINT))["digest"].agg(",".join).to_dict()
        for point in rows_of(over_models(of_setting)):
            place = tuple(point[name] for name in POINT)
            made.append({**dict(zip(SETTING, setting, strict=True)), **point, "digests": digests[place]})
    return made


_WITH_ANSWERS = ("digest", "task", "method", "method_name", "frames", "height", "width", "seed")


def _answers(rows: list[Row], records: list[Record], store: Store, problems: list[Problem]) -> list[Row]:
    answers = _of_answers(rows, records, store.samples, store, problems)
    made: list[Row] = []
    for row in rows:
        known = {name: row[name] for name in _WITH_ANSWERS}
        for one in answers.get(str(row["digest"]), ()):
            fields = dict(one)
            clip, oracles = fields.pop("group"), fields.pop("oracle_values")
            named = {f"oracle_{name}": value for name, value in oracles.items()}
            losses = fields.pop("choice_losses")
            named["choice_losses"] = None if losses is None else json.dumps(losses)
            made.append({**known, **fields, "clip": clip, **named})
    return made


def _as_read(rows: list[Row], records: list[Record], store: Store, problems: list[Problem]) -> list[Row]:
    return rows


_MAKERS = {
    "cells": _cells,
    "kinds": _kinds,
    "points": _points,
    "answers": _answers,
    "counted": _as_read,
    "timings": _as_read,
    "ratios": _as_read,
}


def _of_answers(
    rows: Sequence[Row],
    records: Sequence[Record],
    read: Callable[[str], T],
    store: Store,
    problems: list[Problem],
) -> dict[str, T]:
    """What is read of the answered questions of the rows' cells, by digest.

    Sidecars that cannot be read are problems.
    """
    wanted = {row["digest"] for row in rows}
    found: dict[str, T] = {}
    for record in records:
        digest = record.key.digest
        answered = isinstance(record.outcome, Ok) and record.outcome.measures.accuracy is not None
        if answered and digest in wanted:
            try:
                found[digest] = read(digest)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                problems.append(Problem(store.sidecar(digest), f"the answers cannot be read: {reason}"))
    return found


def typed(rows: Sequence[Row], columns: Columns) -> pd.DataFrame:
    """Rows as a frame with every fixed column, then those that depend on the data, each of its own type."""
    names = [*columns, *sorted({name for row in rows for name in row} - set(columns))]
    series = {
        name: pd.Series([plain(row.get(name)) for row in rows], dtype=str(column(columns, name).dtype))
        for name in names
    }
    return pd.DataFrame(series)
