"""``harness eval``: measure a grid of cells and report on it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from harness.cli.errors import Debug, guarded, one_line, say
from harness.cli.explain import explain, say_skipped
from harness.errors import NothingMeasuredError
from harness.report.text import numbered
from harness.spec import (
    DEFAULT_BACKBONE,
    DType,
    EvalSpec,
    MethodSpec,
    TaskSpec,
    WeightsPolicy,
    parse_ints,
    parse_names,
    parse_resolutions,
)

Texts = list[str] | None
Paths = list[Path] | None


def eval_command(
    task: Annotated[
        Texts,
        typer.Option(
            "--task",
            help="Tasks, as NAME or NAME:FIELD=VALUE+FIELD=VALUE, or of a family, as lmms:NAME+FIELD=VALUE.",
        ),
    ] = None,
    methods: Annotated[
        Texts,
        typer.Option(
            "--methods", "--method", help="Methods, as NAME or NAME:FIELD=VALUE+...; all by default."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the data of tasks that come without, such as lmms:NAME; for several tasks, "
            "a folder of folders that are named after them: NAME."
        ),
    ] = None,
    frames: Annotated[Texts, typer.Option(help="Frames per sample.", show_default="1,2,4,8")] = None,
    resolution: Annotated[Texts, typer.Option(help="Pixels: 64, or HEIGHTxWIDTH.", show_default="64")] = None,
    seed: Annotated[Texts, typer.Option(help="Seeds of the models.", show_default="0")] = None,
    view_seed: Annotated[int, typer.Option(help="Seed of the frame sampler.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Most samples per task.")] = None,
    models: Annotated[Paths, typer.Option(help="Folder of trained models; looked into first.")] = None,
    weights: Annotated[str, typer.Option(help="trained, or random to measure cost only.")] = "trained",
    backbone: Annotated[
        Texts,
        typer.Option(
            help="Registered backbone; or a folder: a fused model (of `harness graft` or `harness train`), "
            "measured with its own method and weights, or a decoder's checkpoint, whose fused models "
            "--models holds; or a published vision-language model with its own fusion: hub:ORG/NAME, "
            "hub:ORG/NAME@REVISION or its folder (`harness list published`). Of several, each gets the "
            "methods that belong on it.",
            show_default=DEFAULT_BACKBONE,
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that a published model brings; pinned only."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    batch: Annotated[
        int, typer.Option(help="Samples per forward pass where accuracy is measured.")
    ] = EvalSpec.batch,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="results/runs/TASK")
    ] = None,
    plugin: Annotated[Paths, typer.Option(help="Python file that registers more; may be repeated.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Keep measured cells, retry failed ones; or measure everything again.")
    ] = True,
    timeout: Annotated[
        float, typer.Option(help="Longest time for one cell, in seconds.")
    ] = EvalSpec.timeout_s,
    threads: Annotated[int, typer.Option(help="CPU threads of a cell.")] = EvalSpec.threads,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for decoded and encoded views; $HARNESS_CACHE moves data sets too.",
            show_default="~/.cache/vlm-fusion-harness",
        ),
    ] = None,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan-only", help="Write cell files and print a worker command for each; no measuring."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Measure accuracy, memory and latency of fusion methods over frames and resolutions, then report.

    Options that take several values separate them by commas. Running the same command again goes on where it
    stopped.
    """
    with guarded(debug):
        spec = EvalSpec(
            tasks=TaskSpec.parse_list(task or []),
            methods=MethodSpec.parse_list(methods or []),
            frames=EvalSpec.frames if frames is None else parse_ints("frames", frames),
            resolutions=EvalSpec.resolutions if resolution is None else parse_resolutions(resolution),
            seeds=EvalSpec.seeds if seed is None else parse_ints("seed", seed),
            view_seed=view_seed,
            limit=limit,
            backbones=EvalSpec.backbones if backbone is None else parse_names(backbone),
            trust_remote_code=trust_remote_code,
            models=tuple(models or ()),
            weights=cast(WeightsPolicy, weights),
            device=device,
            dtype=cast(DType, dtype),
            batch=batch,
            out=out,
            plugins=tuple(plugin or ()),
            resume=resume,
            timeout_s=timeout,
            threads=threads,
            cache_dir=cache,
            data=data,
        )
    stopped = f"stopped: measured cells are kept in {spec.out_dir}; run the same command again to go on"
    with guarded(debug, stopped):
        if plan_only:
            _print_worker_commands(spec)
        else:
            _evaluate(spec, as_json, debug)


def _evaluate(spec: EvalSpec, as_json: bool, debug: bool) -> None:
    from harness.cli.progress import progress_on
    from harness.cli.table import print_table
    from harness.execute import run_eval
    from harness.records import Ok

    records = run_eval(spec, progress_on(sys.stderr, spec, debug))
    if as_json:
        document = [{"digest": one.key.digest, **one.model_dump(mode="json")} for one in records]
        typer.echo(json.dumps(document, indent=1))
    else:
        print_table(records, sys.stdout)
    explain(records, spec.out_dir, debug)
    measured = [record.outcome.measures for record in records if isinstance(record.outcome, Ok)]
    if not measured:
        raise NothingMeasuredError(
            f"none of {numbered(len(records), 'cell')} was measured; the reasons are above and in "
            f"{spec.out_dir}"
        )
    from harness.cli.report import say_where
    from harness.report.build import build_report

    say_where(build_report(spec.out_dir, None), err=as_json)
    if all(one.unscored for one in measured):
        raise NothingMeasuredError(
            f"no answer of {numbered(len(measured), 'cell')} was scored, for the reasons above; memory and "
            "times are recorded, and the same command asks again"
        )


def _print_worker_commands(spec: EvalSpec) -> None:
    from harness.execute.run import write_cells
    from harness.plan import make_plan

    plan = make_plan(spec)
    if plan.left_out is not None:
        say(one_line(plan.left_out))
    say_skipped(cell.skip for cell in plan.cells)
    for path in write_cells(plan, spec.out_dir):
        command = [sys.executable, "-m", "harness.worker", "--cell", path, "--out", spec.out_dir]
        typer.echo(shlex.join(map(str, command)))
