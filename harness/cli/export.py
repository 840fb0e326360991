"""``harness export``: records as one table for DuckDB, pandas and spreadsheets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.errors import Debug, guarded, one_line, progress_line, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.store import Problem

Texts = list[str] | None

STDOUT = Path("-")


def export_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN")],
    out: Annotated[
        Path, typer.Option(help="File ending in .parquet, .csv or .jsonl; - is CSV on standard output.")
    ] = STDOUT,
    table: Annotated[
        str, typer.Option(help="cells, kinds, points, answers, counted, timings or ratios.")
    ] = "cells",
    task: Annotated[Texts, typer.Option(help="Keep these tasks.")] = None,
    method: Annotated[
        Texts, typer.Option("--method", "--methods", help="Keep these methods: NAME, or NAME:FIELD=VALUE+...")
    ] = None,
    frames: Annotated[Texts, typer.Option(help="Keep these numbers of frames.")] = None,
    resolution: Annotated[Texts, typer.Option(help="Keep these sizes: 64, or HEIGHTxWIDTH pixels.")] = None,
    seed: Annotated[Texts, typer.Option(help="Keep these seeds of models.")] = None,
    outcome: Annotated[Texts, typer.Option(help="Keep these outcomes: ok, failed, skipped.")] = None,
    where: Annotated[
        Texts,
        typer.Option(
            help="Keep rows whose column has one of the values; can be given again for another column.",
            metavar="COLUMN=VALUE[,VALUE]",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the records of runs as one table, with typed columns and units in their names.

    A row's `digest` names its files. Options that take several values separate them by commas. Where no row
    is left nothing is written, and the exit status is 3. docs/export.md explains every column.
    """
    with guarded(debug):
        from harness.export import Selection, export_table, write_table
        from harness.export.write import form_of, to_csv

        if out != STDOUT:
            form_of(out)
        options = {
            "task": task,
            "method": method,
            "frames": frames,
            "resolution": resolution,
            "seed": seed,
            "outcome": outcome,
            "where": where,
        }
        with progress_line(sys.stderr) as show:
            made = export_table(runs, table, Selection.parse(options), show)
        if out == STDOUT:
            typer.echo(to_csv(made).decode(), nl=False)
        else:
            write_table(made, out)
            typer.echo(f"export: {out} ({len(made.frame):,} rows of {table})")
        _list(made.problems)


def _list(problems: Sequence[Problem]) -> None:
    """Name every file that was left out, and how many there are."""
    for problem in problems:
        say(f"left out: {one_line(problem.path)}: {one_line(problem.reason)}")
    if problems:
        say(f"warning: {len(problems)} file(s) left out, which are named above")
