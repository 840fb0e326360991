"""``harness plan``: how many frames, and turns of a live session, fit on a card."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from harness.budget import RESERVE, usable_bytes
from harness.cli.bench import Backbone, Kernel, Methods, Plugins, Resolution, TextTokens
from harness.cli.errors import Debug, guarded, one_line, progress_line, say
from harness.errors import NothingMeasuredError
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, parse_resolutions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.counting.capacity import Capacity
    from harness.counting.records import Kernels


def plan_command(
    gpu: Annotated[str, typer.Option(help="The card's memory: 80GB, 24GiB.")],
    methods: Methods = None,
    backbone: Backbone = DEFAULT_BACKBONE,
    resolution: Resolution = None,
    text: TextTokens = 16,
    text_per_frame: Annotated[int, typer.Option(help="Text tokens of a turn, after its frame.")] = 16,
    reserve: Annotated[
        str,
        typer.Option(help="Kept free for what is no tensor: the CUDA context, workspaces, fragmentation."),
    ] = RESERVE,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    kernels: Kernel = "cuda",
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Say how much video fits: the most frames of one prompt, and the most turns of a live session.

    Peaks are counted without a GPU. A prompt shows its frames at once, with the fixed text after them; a turn
    is one frame and its text, in a session that keeps what its method keeps.
    """
    with guarded(debug):
        from harness.counting.capacity import capacities
        from harness.counting.spec import CountSpec

        budget = usable_bytes(gpu, reserve)
        found: list[Capacity] = []
        for mode, per_frame in (("prefill", 0), ("stream", text_per_frame)):
            spec = CountSpec(
                methods=MethodSpec.parse_list(methods or []),
                backbone=backbone,
                modes=("prefill",) if mode == "prefill" else ("stream",),
                resolutions=CountSpec.resolutions if resolution is None else parse_resolutions(resolution),
                text=text,
                text_per_frame=per_frame,
                dtype=cast("DType", dtype),
                kernels=cast("Kernels", kernels),
                plugins=tuple(plugin or ()),
            )
            with progress_line(sys.stderr, quiet=as_json) as show:
                found += capacities(spec, budget, show)
        if as_json:
            typer.echo(json.dumps([_document(one) for one in found], indent=1))
        else:
            _print(found, sys.stdout)
            typer.echo(
                f"{gpu} less {reserve}; a turn is one frame and {text_per_frame} text tokens; "
                f"{text} tokens of fixed text"
            )
        for message in dict.fromkeys(one.message for one in found if one.message):
            say(f"not counted: {one_line(message)}")
        if all(one.limit == "failed" for one in found):
            raise NothingMeasuredError("nothing could be counted; the reasons are above")


def _document(one: Capacity) -> dict[str, object]:
    return {
        "key": one.key.model_dump(mode="json"),
        "frames": one.frames,
        "peak_bytes": one.peak_bytes,
        "limit": one.limit,
        "counted": one.counted,
        "message": one.message,
    }


def _print(found: Sequence[Capacity], stream: TextIO) -> None:
    """Methods down; for each resolution the frames of a prompt and the turns of a session."""
    from rich.text import Text

    from harness.cli.table import new_table, show_table
    from harness.plan import method_label

    sizes = list(dict.fromkeys(f"{one.key.height}x{one.key.width}" for one in found))
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for one in found:
        place = (f"{one.key.height}x{one.key.width}", one.key.mode)
        rows.setdefault(method_label(one.key), {})[place] = _frames(one)
    table = new_table(stream)
    table.add_column("method", no_wrap=True)
    columns = [(size, mode) for mode in ("prefill", "stream") for size in sizes]
    for size, mode in columns:
        title = f"{'frames of a prompt' if mode == 'prefill' else 'turns of a session'}, {size}"
        table.add_column(title, justify="right")
    for method, cells in rows.items():
        table.add_row(*map(Text, [method, *(cells[place] for place in columns)]))
    show_table(table, stream)


def _frames(one: Capacity) -> str:
    if one.limit == "failed":
        return "not counted"
    return f"{one.frames:,}" + ("+" if one.limit == "tried" else "")
