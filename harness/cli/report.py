"""``harness report``: tables and figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded


def report_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
    debug: Debug = False,
) -> None:
    """Write the report of a run: Markdown, LaTeX, CSV and figures; print where it is.

    Where no cell was measured the report says why, and the exit status is 3.
    """
    with guarded(debug):
        from harness.errors import NothingMeasuredError
        from harness.report.build import build_report
        from harness.store import load_records

        typer.echo(f"report: {build_report(run, out)}")
        records, _ = load_records(run)
        if not any(record.outcome.kind == "ok" for record in records):
            raise NothingMeasuredError(
                f"nothing measured: none of the {len(records)} cells in {str(run)!r} was; the report says why"
            )
