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
    """Write the report of a run: Markdown, CSV and figures; print where it is.

    Where nothing was measured the report says why, and the exit status is 3.
    """
    with guarded(debug):
        from harness.counting.store import load_counted
        from harness.errors import NothingMeasuredError
        from harness.report.build import build_report
        from harness.report.evidence import load_cells
        from harness.timing.store import load_timings

        typer.echo(f"report: {build_report(run, out)}")
        records, _ = load_cells(run)
        beside = load_counted(run)[0] or load_timings(run)[0]
        if not any(record.outcome.kind == "ok" for record in records) and (records or not beside):
            raise NothingMeasuredError(
                f"nothing measured: none of the {len(records)} cells in {str(run)!r} was; the report says why"
            )
