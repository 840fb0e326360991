"""``harness time``: methods timed in turns in one process, so that their ratios may be compared."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from harness.cli.errors import Debug, first_line, guarded, one_line, progress_line, say, warn_broken
from harness.errors import NothingMeasuredError, UsageError
from harness.spec import (
    DEFAULT_BACKBONE,
    DType,
    MethodSpec,
    TaskSpec,
    WeightsPolicy,
    parse_ints,
    parse_resolutions,
)
from harness.timing.spec import TimingSpec

if TYPE_CHECKING:
    import pandas as pd

    from harness.timing.plan import TimingPlan
    from harness.timing.records import TimingKey, TimingRecord
    from harness.timing.run import Observer

Texts = list[str] | None
Paths = list[Path] | None


def time_command(
    out: Annotated[Path, typer.Option(help="Folder of the run; records go to its folder `timings`.")],
    methods: Annotated[
        Texts,
        typer.Option(
            "--methods",
            "--method",
            help="Methods, as NAME or NAME:FIELD=VALUE+...; all by default. A method that is named twice is "
            "timed as two copies, which shows what the ratios are worth here.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="Task whose frames are shown.", show_default="videoqa"),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Show frames of noise instead, any number of them.")
    ] = False,
    frames: Annotated[Texts, typer.Option(help="Frames of the stream.", show_default="1,2,4,8,16")] = None,
    resolution: Annotated[Texts, typer.Option(help="Pixels: 64, or HEIGHTxWIDTH.", show_default="64")] = None,
    rounds: Annotated[
        int, typer.Option(help="Times that every method is timed at every size.")
    ] = TimingSpec.rounds,
    order_seed: Annotated[int, typer.Option(help="Seed of the order in the rounds.")] = TimingSpec.order_seed,
    seed: Annotated[int, typer.Option(help="Seed of the models.")] = TimingSpec.seed,
    view_seed: Annotated[int, typer.Option(help="Seed of the frame sampler.")] = TimingSpec.view_seed,
    limit: Annotated[
        int, typer.Option(help="Samples among which the first with the most frames is shown; 0 takes all.")
    ] = TimingSpec.limit or 0,
    models: Annotated[Paths, typer.Option(help="Folder of trained models; looked into first.")] = None,
    weights: Annotated[str, typer.Option(help="trained or random.")] = TimingSpec.weights,
    backbone: Annotated[str, typer.Option(help="Registered backbone, or a folder.")] = DEFAULT_BACKBONE,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = TimingSpec.device,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = TimingSpec.dtype,
    plugin: Annotated[Paths, typer.Option(help="Python file that registers more; may be repeated.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Keep sizes that are timed, retry failed ones; or time everything again.")
    ] = TimingSpec.resume,
    timeout: Annotated[
        float, typer.Option(help="Longest time for one size, in seconds.")
    ] = TimingSpec.timeout_s,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = TimingSpec.threads,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for decoded and encoded views; $HARNESS_CACHE moves data sets too.",
            show_default="~/.cache/vlm-fusion-harness",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Time prefill, an appended frame and a decoded token of several methods in turns, and compare them.

    At every size one process holds all methods and times them in rounds, so that ratios hold on a busy
    machine too. Running the same command again goes on where it stopped.
    """
    with guarded(debug):
        if synthetic and task is not None:
            raise UsageError(f"--synthetic takes no task, but --task {task} is given; leave out one of them")
        if limit < 0:
            raise UsageError(f"limit {limit} is not usable; give 1 or more, or 0 for all samples")
        tasks = TaskSpec.parse_list(["videoqa" if task is None else task])
        if len(tasks) != 1:
            raise UsageError(f"{len(tasks)} tasks are given with --task {task}; one shows one stream")
        spec = TimingSpec(
            methods=MethodSpec.parse_list(methods or []),
            task=None if synthetic else tasks[0],
            frames=TimingSpec.frames if frames is None else parse_ints("frames", frames),
            resolutions=TimingSpec.resolutions if resolution is None else parse_resolutions(resolution),
            rounds=rounds,
            order_seed=order_seed,
            seed=seed,
            view_seed=view_seed,
            limit=limit or None,
            backbone=backbone,
            models=tuple(models or ()),
            weights=cast(WeightsPolicy, weights),
            device=device,
            dtype=cast(DType, dtype),
            out=out,
            plugins=tuple(plugin or ()),
            resume=resume,
            timeout_s=timeout,
            threads=threads,
            cache_dir=cache,
        )
    stopped = f"stopped: timed sizes are kept in {spec.out}; run the same command again to go on"
    with guarded(debug, stopped):
        _time(spec, as_json, debug)


def _time(spec: TimingSpec, as_json: bool, debug: bool) -> None:
    from harness.cli.timing_table import print_timings
    from harness.timing import run
    from harness.timing.crossings import crossings, sentence
    from harness.timing.frame import ratios

    with progress_line(sys.stderr, quiet=as_json) as show:
        records = run.run_timing(spec, _observer(show, debug))
    compared = ratios(records)
    turns = [sentence(crossing) for crossing in crossings(compared)]
    if as_json:
        document = {
            "records": [{"digest": one.key.digest, **one.model_dump(mode="json")} for one in records],
            "ratios": _rows(compared),
            "crossings": turns,
        }
        typer.echo(json.dumps(document, indent=1))
    else:
        print_timings(records, sys.stdout)
        for turn in turns:
            typer.echo(turn)
    _explain(records, debug)
    if not any(outcome.kind == "ok" for record in records for outcome in record.outcomes):
        raise NothingMeasuredError(
            f"no method was timed at any of {len(records)} size(s); the reasons are above and in {spec.out}"
        )


def _rows(ratios: pd.DataFrame) -> list[dict[Hashable, object]]:
    """Rows as JSON has them: no data is null."""
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in row.items()
        }
        for row in ratios.astype(object).to_dict("records")
    ]


def _explain(records: Sequence[TimingRecord], debug: bool) -> None:
    """Say why times are missing, each reason once."""
    from harness.records import Failed
    from harness.timing.labels import names_of

    reasons: Counter[str] = Counter()
    traces: dict[str, None] = {}
    for record in records:
        for name, outcome in zip(names_of(record.key), record.outcomes, strict=True):
            if isinstance(outcome, Failed):
                reasons[f"{name}: {outcome.failure}: {first_line(outcome.message)}"] += 1
                traces.setdefault(outcome.traceback or "")
    for reason, count in reasons.items():
        say(f"failed at {count} size(s): {reason}")
    if debug:
        for text in filter(None, traces):
            say(text.rstrip())
    busy = [record for record in records if record.crowded]
    if busy:
        load = max(one[0] for record in busy for one in (record.load_before, record.load_after) if one)
        say(
            f"warning: the machine's load was up to {load:.1f} on {busy[0].environment.cpu_count} processors "
            f"at {len(busy)} size(s); waiting for a processor adds to every time, which draws ratios toward 1"
        )


def _observer(show: Callable[[str], None], debug: bool) -> Observer:
    from harness.timing.run import Observer

    class Telling(Observer):
        """A line per size, and on a terminal what is done now, at most once a second."""

        def __init__(self) -> None:
            self._shown_s = 0.0
            self._done = self._total = 0
            self._label = ""

        def begin(self, plan: TimingPlan, kept: int) -> None:
            warn_broken(plan.broken, debug)
            self._total = len(plan.jobs) - kept
            say(f"{len(plan.jobs)} sizes: {self._total} to time, {kept} timed already")

        def size_started(self, key: TimingKey) -> None:
            self._done += 1
            self._label = f"[{self._done}/{self._total}] {key.frames} frame(s) {key.height}x{key.width}"

        def stage(self, text: str) -> None:
            now = time.monotonic()
            if now - self._shown_s >= 1:
                show(f"{self._label}: {text}")
                self._shown_s = now

        def size_ended(self, record: TimingRecord) -> None:
            show("")
            timed = sum(outcome.kind == "ok" for outcome in record.outcomes)
            say(
                one_line(
                    f"{self._label}: {timed} of {len(record.outcomes)} methods timed in {record.rounds} "
                    f"rounds, {record.duration_s:.0f} s"
                )
            )

    return Telling()
