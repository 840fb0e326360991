"""Counted memory against a CUDA device's allocator: every method, mode and size of a grid, phase by phase.

Each cell runs the scenario that is counted, after a warm-up, and compares the allocator's peak in every phase
with the counted one; what makes up the difference is measured (workspaces, blocks' rounding, scratch memory
inside kernels, tensors that other kernels return), and the attention kernels that ran are compared with those
predicted. One record a cell lies under OUT/MACHINE; cells that have one are not measured again.

Exit status: 0 where every difference is within 1 % or has a known cause, 1 where not, where attention took
another route, or where a cell failed; 2 for a value that cannot be used, 3 where nothing was measured, 4
without a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.cards import Cuda, Device
from benchmarks.gpu.cells import measure_cells
from benchmarks.gpu.choices import FILE, Choices, Chooser, compare_choices, torch_choice
from benchmarks.gpu.groups import Job, Launch, groups, launcher, run_group
from benchmarks.gpu.records import Card, load_records, write_text
from benchmarks.gpu.summary import Verdict, judge, markdown
from harness import environment, registry
from harness.counting.records import CountKey
from harness.counting.run import scenarios
from harness.counting.spec import MODES, CountSpec
from harness.errors import ExitCode, HarnessError, UsageError
from harness.records import Environment
from harness.spec import MethodSpec, check_choice, check_numbers, parse_ints, parse_resolutions

SUMMARY = "README.md"
GRID = ("tiny-qwen3=64", "helium1-2b=224,448")
FRAMES = (1, 2, 4, 8, 16, 32, 64)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--methods", default="", help="as NAME or NAME:FIELD=VALUE+...; all by default")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument(
        "--grid",
        action="append",
        metavar="BACKBONE=RESOLUTIONS",
        help=f"may be repeated; {' '.join(GRID)} by default",
    )
    parser.add_argument("--frames", default=",".join(map(str, FRAMES)), help="ascending")
    parser.add_argument("--text", type=int, default=CountSpec.text, help="tokens of the fixed text")
    parser.add_argument("--text-per-frame", type=int, default=2)
    parser.add_argument("--dtype", default=CountSpec.dtype)
    parser.add_argument("--warmups", type=int, default=1, help="full steps before the one that is read")
    parser.add_argument("--out", type=Path, default=Path("results", "gpu"))
    parser.add_argument("--machine", default="", help="name of the folder; the card's by default")
    parser.add_argument("--again", action="store_true", help="measure cells that have a record, too")
    parser.add_argument("--seconds", type=float, default=300, help="the longest that one cell may take")
    parser.add_argument("--plugin", type=Path, action="append", default=[])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def keys_of(options: argparse.Namespace) -> list[CountKey]:
    """The grid: a method's cells on a backbone stand together. Raises UsageError."""
    modes = tuple(mode for mode in options.modes.split(",") if mode)
    for mode in modes:
        check_choice("mode", mode, MODES)
    check_numbers("warmups", (options.warmups,), 1)
    keys: list[CountKey] = []
    for entry in options.grid or GRID:
        backbone, sign, sizes = entry.partition("=")
        if not (backbone and sign and sizes):
            raise UsageError(f"grid {entry!r} is not BACKBONE=RESOLUTIONS; write for example tiny-qwen3=64")
        keys += scenarios(
            CountSpec(
                methods=MethodSpec.parse_list([options.methods] if options.methods else []),
                backbone=backbone,
                modes=modes,
                frames=parse_ints("frames", [options.frames]),
                resolutions=parse_resolutions([sizes]),
                text=options.text,
                text_per_frame=options.text_per_frame,
                dtype=options.dtype,
                plugins=tuple(options.plugin),
            )
        )
    return keys


def machine_name(card: Card) -> str:
    return re.sub(r"[^a-z0-9]+", "-", card.name.lower()).strip("-")


def measure_grid(
    keys: Sequence[CountKey],
    folder: Path,
    device: Device,
    described: Environment,
    launch: Launch,
    *,
    choose: Chooser = torch_choice,
    warmups: int = 1,
    again: bool = False,
) -> Verdict:
    """Measure what is missing, and write the summary over the whole grid."""
    card = device.card()
    choices = Choices(environment=described, card=card, choices=tuple(compare_choices(device.device, choose)))
    write_text(folder / FILE, choices.model_dump_json(indent=1) + "\n")
    device.empty()
    for members in groups(keys):
        run_group(members, folder, launch, described, card, warmups=warmups, again=again, progress=_progress)
    records, missing = load_records(folder, keys)
    verdict = judge(records, missing, choices)
    write_text(folder / SUMMARY, markdown(records, verdict, choices))
    return verdict


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def work() -> None:
    """Measure the cells that standard input names, in this process."""
    job = Job.model_validate_json(sys.stdin.read())
    registry.discover(job.plugins)
    measure_cells(job.keys, Cuda(), job.folder, job.warmups)


def run(options: argparse.Namespace) -> ExitCode:
    if options.worker:
        work()
        return ExitCode.OK
    device = Cuda()
    keys = keys_of(options)
    folder = options.out / (options.machine or machine_name(device.card()))
    plugins = tuple(options.plugin)
    verdict = measure_grid(
        keys,
        folder,
        device,
        environment.describe(device=str(device.device)),
        launcher(folder, options.warmups, plugins, options.seconds),
        warmups=options.warmups,
        again=options.again,
    )
    if options.json:
        counts = {"measured": verdict.measured, "out_of_memory": verdict.out_of_memory}
        print(json.dumps({"folder": str(folder), "cells": len(keys), **counts, "wrong": verdict.wrong}))
    else:
        print((folder / SUMMARY).read_text(encoding="utf-8"), end="")
    return verdict.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit status."""
    options = parser().parse_args(arguments)
    try:
        return run(options)
    except HarnessError as error:
        print(f"gpu_memory: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
