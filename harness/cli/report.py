"""``harness report``: tables and figures of a run."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.errors import Debug, guarded, one_line, progress_line, say

DEFAULT_EVERY_S = 5.0


def report_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Make the report again whenever records change, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(help="With --watch: seconds between looks at the records.")
    ] = DEFAULT_EVERY_S,
    debug: Debug = False,
) -> None:
    """Write the report of a run: a page, Markdown, LaTeX, CSV and figures; print where it is.

    Where nothing was measured the report says why, and the exit status is 3. With --watch the exit status of
    an interrupt is 0: it is how watching ends.
    """
    with guarded(debug):
        if watch:
            _watch(run, out, every)
        else:
            _report(run, out)


def _report(run: Path, out: Path | None) -> None:
    from harness.counting.store import load_counted
    from harness.errors import NothingMeasuredError
    from harness.report.build import build_report
    from harness.report.evidence import load_cells
    from harness.timing.store import load_timings

    with progress_line(sys.stderr) as show:
        show(f"making the report of {run}")
        path = build_report(run, out)
    say_where(path)
    records, problems = load_cells(run)
    if problems:
        first = problems[0]
        say(
            f"warning: {len(problems)} file(s) left out, which the report lists; the first is "
            f"{one_line(first.path)}: {one_line(first.reason)}"
        )
    beside = load_counted(run)[0] or load_timings(run)[0]
    if not any(record.outcome.kind == "ok" for record in records) and (records or not beside):
        raise NothingMeasuredError(
            f"nothing measured: none of the {len(records)} cells in {str(run)!r} was; the report says why"
        )


def say_where(markdown: Path, err: bool = False) -> None:
    """Print where the page and the Markdown are."""
    typer.echo(f"report: {markdown.with_name('report.html')}\nmarkdown: {markdown}", err=err)


def _watch(run: Path, out: Path | None, every_s: float) -> None:
    from harness.errors import UsageError

    if not 0 < every_s < float("inf"):
        raise UsageError(f"every {every_s:g} is not usable; give a number of seconds above 0")
    from harness.report.watch import watch

    try:
        watch(run, out, typer.echo, functools.partial(time.sleep, every_s))
    except KeyboardInterrupt:
        say("stopped watching")
