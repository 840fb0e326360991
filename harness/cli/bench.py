"""``harness bench``: what a phase takes in memory, over frames and resolutions, without a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from harness.cli.errors import Debug, guarded, one_line, progress_line, say
from harness.errors import NothingMeasuredError, UsageError
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, parse_ints, parse_resolutions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.counting.records import CountRecord, Kernels, Mode

Texts = list[str] | None
Paths = list[Path] | None

Methods = Annotated[
    Texts,
    typer.Option("--methods", "--method", help="Methods, as NAME or NAME:FIELD=VALUE+...; all by default."),
]
Backbone = Annotated[str, typer.Option(help="Registered backbone, or a checkpoint folder.")]
Resolution = Annotated[Texts, typer.Option(help="Pixels: 224, or HEIGHTxWIDTH.", show_default="64")]
TextTokens = Annotated[int, typer.Option(help="Tokens of the fixed text.")]
PerFrame = Annotated[int, typer.Option(help="Text tokens after every frame; 0 is the regime of fixed text.")]
Kernel = Annotated[
    str, typer.Option(help="Attention as torch's cuda build routes it, its math route (cuda-math), or cpu.")
]
Plugins = Annotated[Paths, typer.Option(help="Python file that registers more; may be repeated.")]


def bench_command(
    methods: Methods = None,
    backbone: Backbone = DEFAULT_BACKBONE,
    mode: Annotated[
        Texts, typer.Option(help="prefill, decode, stream, train.", show_default="prefill")
    ] = None,
    frames: Annotated[Texts, typer.Option(help="Frames, ascending.", show_default="1,2,4,8,16")] = None,
    resolution: Resolution = None,
    text: TextTokens = 16,
    text_per_frame: PerFrame = 0,
    kv_tokens: Annotated[
        int | None,
        typer.Option(help="With --mode decode: rows of the cache before it, filled up with text."),
    ] = None,
    encode_batch: Annotated[int, typer.Option(help="Frames that the vision encoder takes at once.")] = 1,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    kernels: Kernel = "cuda",
    optimizer: Annotated[
        str, typer.Option(help="Of a training step: adamw-foreach (CUDA's default), adamw-loop or sgd.")
    ] = "adamw-foreach",
    memory: Annotated[
        str,
        typer.Option(help="counted: live tensors, without storage."),
    ] = "counted",
    out: Annotated[Path | None, typer.Option(help="Folder to keep the records in.")] = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Count the peak memory of a phase for every method, size and number of frames: no weights, no GPU.

    Tensors have shapes and no storage, so a 7B model at 1,024 frames takes a second.
    """
    with guarded(debug):
        from harness.counting.side_by_side import SideBySide
        from harness.counting.spec import CountSpec
        from harness.counting.store import write_counted

        if memory != "counted":
            raise UsageError(
                f"unknown memory {memory!r}: give counted; a GPU's allocator is read by "
                "`harness eval --device cuda` and compared with counts by `python -m benchmarks.gpu_memory`"
            )
        spec = CountSpec(
            methods=MethodSpec.parse_list(methods or []),
            backbone=backbone,
            modes=CountSpec.modes if mode is None else cast("tuple[Mode, ...]", _words(mode)),
            frames=CountSpec.frames if frames is None else parse_ints("frames", frames),
            resolutions=CountSpec.resolutions if resolution is None else parse_resolutions(resolution),
            text=text,
            text_per_frame=text_per_frame,
            kv_tokens=kv_tokens,
            encode_batch=encode_batch,
            dtype=cast("DType", dtype),
            kernels=cast("Kernels", kernels),
            optimizer=optimizer,
            plugins=tuple(plugin or ()),
        )
        with progress_line(sys.stderr, quiet=as_json) as show, SideBySide() as count:
            records = count(spec, show)
        if out is not None:
            write_counted(out, records)
        if as_json:
            document = [{"digest": one.key.digest, **one.model_dump(mode="json")} for one in records]
            typer.echo(json.dumps(document, indent=1))
        else:
            _print(records, sys.stdout)
        explain(records, debug)
        if not any(record.peak for record in records):
            raise NothingMeasuredError(
                f"none of the {len(records)} scenarios was counted; the reasons are above"
            )


def explain(records: Sequence[CountRecord], debug: bool) -> None:
    """Say why scenarios are missing, or were counted otherwise, each reason once."""
    from harness.counting.records import NotCounted

    reasons = dict.fromkeys(
        (f"not counted: {record.key.method}: {record.outcome.message}", record.outcome.traceback)
        for record in records
        if isinstance(record.outcome, NotCounted)
    )
    for reason, trace in reasons:
        say(one_line(reason))
        if debug and trace:
            say(trace.rstrip())
    real = {record.key.method: record.peak.reason for record in records if record.peak and record.peak.reason}
    for method, reason in real.items():
        say(f"{method} was counted on real tensors: {one_line(reason)}")


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for text in texts for part in text.split(",") if part.strip()))


def _print(records: Sequence[CountRecord], stream: TextIO) -> None:
    from harness.cli.counted_table import print_counted

    print_counted(records, stream)
