"""The command line: a thin layer over :mod:`harness.spec`. A command imports what is heavy when it runs."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

import harness
from harness.cli.bench import bench_command
from harness.cli.capacity import plan_command
from harness.cli.check import check_command
from harness.cli.compare import compare_command
from harness.cli.doctor import doctor_command
from harness.cli.eval import eval_command
from harness.cli.export import export_command
from harness.cli.graft import graft_command
from harness.cli.listing import list_command
from harness.cli.new import new_command
from harness.cli.report import report_command
from harness.cli.timing import time_command
from harness.cli.train import train_command

app = typer.Typer(
    name="harness",
    help="Measure how vision-language models fuse images into a language model: accuracy, memory, latency.",
    epilog="Exit status: 0 fine, 1 regression, 2 usage, 3 nothing measured, 4 infrastructure, 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("list")(list_command)
app.command("new")(new_command)
app.command("eval")(eval_command)
app.command("time")(time_command)
app.command("check")(check_command)
app.command("bench")(bench_command)
app.command("plan")(plan_command)
app.command("train")(train_command)
app.command("graft")(graft_command)
app.command("report")(report_command)
app.command("export")(export_command)
app.command("compare")(compare_command)
app.command("doctor")(doctor_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harness {harness.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point of the command ``harness``."""
    # A scheduler's stop is answered like Ctrl-C: nothing is left running, and the user is told how to go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app(prog_name="harness")
