"""``harness doctor``: what is missing or broken here, and what mends it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded, one_line
from harness.errors import ExitCode

_MARKS = {"ok": "ok", "missing": "-", "failed": "FAILED"}


def doctor_command(
    hub: Annotated[bool, typer.Option(help="Try whether the hub of data sets can be reached.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Check packages, torch, GPU, video decoding, disk, hub access and lmms-eval.

    Each line that is not "ok" ends with what mends it; "-" is optional. The exit status is 4 where something
    that the harness needs does not work.
    """
    with guarded(debug):
        from harness.doctor import examine

        findings = examine(hub=hub)
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        else:
            for finding in findings:
                typer.echo(f"{_MARKS[finding.status]:<6}  {finding.name:<13}  {one_line(finding.detail)}")
                if finding.fix is not None:
                    typer.echo(f"{'':<23}  mend: {one_line(finding.fix)}")
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE))
