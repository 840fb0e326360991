"""``harness check``: the gate on memory, for continuous integration and for the desk."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded, progress_line


def check_command(
    config: Annotated[
        Path | None,
        typer.Option(
            help="The gate's TOML file.",
            show_default="harness.toml, or [tool.harness] in pyproject.toml, found upwards from here",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Baseline file.", show_default="the configuration's")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write what is counted now as the baseline, then check the rest.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Also write the checks as JUnit XML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Check counted memory against declared orders, the committed baseline and reference methods.

    Needs no GPU and no weights. Ends with 1 where something regressed and with 3 where nothing was compared,
    as without a baseline. With GITHUB_ACTIONS set, failures are annotated beside the lines that allocated.
    """
    with guarded(debug):
        from harness.counting.side_by_side import SideBySide
        from harness.gate.document import document
        from harness.gate.github import workflow_commands
        from harness.gate.junit import write_junit
        from harness.gate.places import source_files
        from harness.gate.run import GateSpec, run_gate
        from harness.gate.text import print_report

        spec = GateSpec(config=config, baseline=baseline, update=update)
        with progress_line(sys.stderr, quiet=as_json) as show, SideBySide() as count:
            report = run_gate(spec, show, count=count)
        if junit is not None:
            write_junit(report, junit)
        if as_json:
            typer.echo(json.dumps(document(report), indent=1, allow_nan=False))
        else:
            print_report(report, sys.stdout)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            root = Path(os.environ.get("GITHUB_WORKSPACE") or ".").absolute()
            for line in workflow_commands(report, root, source_files(report)):
                print(line, file=sys.stderr if as_json else sys.stdout)
        if report.exit_code:
            raise typer.Exit(int(report.exit_code))
