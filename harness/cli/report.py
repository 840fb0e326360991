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
    """Write the report of a run: Markdown, CSV and figures; print where it is."""
    with guarded(debug):
        from harness.report.build import build_report

        typer.echo(f"report: {build_report(run, out)}")
