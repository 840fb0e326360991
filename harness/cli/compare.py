"""``harness compare``: who is better at what, and whether it is luck."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from harness.cli.errors import Debug, guarded, one_line, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.compare.interleaved import TimeRatio
    from harness.compare.results import Bytes, PairResult, PlaceResult

KINDS_UP_TO = 3
"""Places for which the table has a row per kind of question."""

Texts = list[str] | None


def compare_command(
    first: Annotated[
        str,
        typer.Argument(
            help="A method as reports print it, RUN::METHOD, or a run's folder. METHOD@BACKBONE on both "
            "sides compares across backbones."
        ),
    ],
    second: Annotated[str, typer.Argument(help="The other one; two folders compare every method in both.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the run that holds the methods.", show_default="results/reference"),
    ] = None,
    task: Annotated[Texts, typer.Option(help="Only this task; can be given again.")] = None,
    frames: Annotated[list[int] | None, typer.Option(help="Only this number of frames.")] = None,
    resolution: Annotated[Texts, typer.Option(help="Only these pixels: 64, or HEIGHTxWIDTH.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    debug: Debug = False,
) -> None:
    """Compare two methods, or two runs, on the same questions at every size that both have.

    An order is claimed where every trained model of one side is above every one of the other and a paired
    test bears it after correction for everything that is compared at once. The exit status is 3 where
    nothing can be compared.
    """
    with guarded(debug):
        from harness.compare.places import Filters
        from harness.compare.run import compare_sides
        from harness.compare.sides import find_sides
        from harness.errors import NothingMeasuredError
        from harness.spec import parse_resolutions

        pairs, problems = find_sides(first, second, run)
        filters = Filters(
            tasks=tuple(task or ()),
            frames=tuple(frames or ()),
            resolutions=parse_resolutions(resolution) if resolution else (),
        )
        results = compare_sides(pairs, filters)
        for problem in problems:
            say(f"warning: {problem.path} does not count: {one_line(problem.reason)}")
        for result in results:
            for problem in result.problems:
                say(f"warning: {problem.path}: {one_line(problem.reason)}")
        if as_json:
            typer.echo(json.dumps([_document(result) for result in results], indent=1))
        else:
            for result in results:
                _print(result, sys.stdout)
        if not any(result.places for result in results):
            raise NothingMeasuredError(f"nothing to compare: {_reasons(results, first, second)}")


def _reasons(results: Sequence[PairResult], first: str, second: str) -> str:
    if not results:
        return f"{first!r} and {second!r} have no method in common"
    refused = [reason for result in results for reason in result.refused]
    more = f"; and {len(refused) - 1} more like it" if len(refused) > 1 else ""
    return f"{refused[0]}{more}"


def _document(result: PairResult) -> dict[str, Any]:
    from harness.compare.words import verdict

    return {
        "first": result.first.name,
        "second": result.second.name,
        "verdict": verdict(result) if result.places else [],
        "places": [_place(place) for place in result.places],
        "not_compared": list(result.refused),
        "problems": [{"path": str(one.path), "reason": one.reason} for one in result.problems],
        "time_ratios": [_ratio(one) for one in result.interleaved],
    }


def _ratio(one: TimeRatio) -> dict[str, Any]:
    from dataclasses import asdict

    interval = {name: getattr(one, name) if math.isfinite(one.low) else None for name in ("low", "high")}
    return asdict(one) | interval | {"told": one.told}


def _place(place: PlaceResult) -> dict[str, Any]:
    from dataclasses import asdict

    def bytes_of(found: Bytes | None) -> dict[str, Any] | None:
        return (
            None if found is None else asdict(found) | {"difference": found.difference, "ratio": found.ratio}
        )

    return {
        **asdict(place.place),
        "setting": {name: json.loads(value) for name, value in place.setting.items()},
        "answers": [
            asdict(one) | {"claimed": one.borne, "questions_needed": one.questions_needed}
            for one in place.answers
        ],
        "random_weights": place.random_weights,
        "peak_bytes": bytes_of(place.peak),
        "state_bytes": bytes_of(place.state),
        "times_ms": {
            name: {
                side: dict(zip(("median", "q25", "q75"), values, strict=True))
                for side, values in (("first", times.first), ("second", times.second))
            }
            for name, times in place.times.items()
        },
        "times_interleaved": False,
        "same_machine": place.same_machine,
    }


def _print(result: PairResult, stream: TextIO) -> None:
    from harness.compare.words import verdict

    if result.places:
        for line in verdict(result):
            typer.echo(one_line(line))
        if any(place.answers for place in result.places):
            _answers(result, stream)
        _costs(result, stream)
    for reason in result.refused:
        typer.echo(f"not compared: {one_line(reason)}")


def _answers(result: PairResult, stream: TextIO) -> None:
    from rich.text import Text

    from harness.cli.table import new_table, show_table
    from harness.compare.words import difference_text, seeds_text
    from harness.report.labels import resolution_label

    kinds = len(result.places) <= KINDS_UP_TO
    table = new_table(stream)
    for name in ("task", "frames", "pixels", "questions"):
        table.add_column(name, no_wrap=True)
    columns = (result.first.name, result.second.name, "difference [95 %]", "over seeds", "models", "n")
    for name in (*columns, "discordant", "p (Holm)", "claimed"):
        table.add_column(Text(one_line(name)), justify="right", no_wrap=True)
    for place in result.places:
        where = place.place
        for one in place.answers:
            if one.kind is not None and not kinds:
                continue
            found = one.difference
            cells = [
                place.where(result.places),
                str(where.frames),
                resolution_label(where.height, where.width),
            ]
            cells += [one.kind or "all", f"{one.first:.3f}", f"{one.second:.3f}", difference_text(one)]
            cells += [seeds_text(one), f"{one.models[0]} and {one.models[1]}", f"{found.questions:,}"]
            cells += ["" if found.gained is None else f"{found.gained} to {found.lost}"]
            cells += [f"{one.adjusted_p:.2g}", "yes" if one.borne else "no"]
            table.add_row(*(Text(one_line(cell)) for cell in cells))
    show_table(table, stream)
    tests = sorted({one.difference.test for place in result.places for one in place.answers})
    typer.echo(f"paired tests: {', '.join(tests)}")
    if not kinds:
        typer.echo(f"by kind of question: --json, or narrow it down to {KINDS_UP_TO} sizes or fewer")


def _costs(result: PairResult, stream: TextIO) -> None:
    from rich.text import Text

    from harness.cli.table import NONE, new_table, show_table
    from harness.report.labels import resolution_label

    def pair(found: Bytes | None, unit: int) -> list[str]:
        if found is None:
            return [NONE, NONE]
        ratio = NONE if found.ratio is None else f"{found.ratio:.3f}"
        return [f"{found.first / unit:,.2f} / {found.second / unit:,.2f}", ratio]

    names = list(dict.fromkeys(name for place in result.places for name in place.times))
    table = new_table(stream)
    for name in ("task", "frames", "pixels"):
        table.add_column(name, no_wrap=True)
    for name in ("peak MiB", "ratio", "state KiB", "ratio", *(f"{name} ms [quartiles]" for name in names)):
        table.add_column(name, justify="right", no_wrap=True)
    for place in result.places:
        where = place.place
        cells = [place.where(result.places), str(where.frames), resolution_label(where.height, where.width)]
        cells += pair(place.peak, 2**20) + pair(place.state, 2**10)
        for name in names:
            times = place.times.get(name)
            sides = [] if times is None else [times.first, times.second]
            cells.append(
                " / ".join(f"{middle:.2f} [{low:.2f}, {high:.2f}]" for middle, low, high in sides) or NONE
            )
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    show_table(table, stream)
    machines = "" if all(place.same_machine for place in result.places) else ", and on different machines"
    typer.echo(
        f"costs are {one_line(result.first.name)} / {one_line(result.second.name)}; times are not interleaved"
        f"{machines}: no ratio is made of them"
    )
    if result.interleaved:
        _ratios(result, stream)


def _ratios(result: PairResult, stream: TextIO) -> None:
    from rich.text import Text

    from harness.cli.table import NONE, new_table, show_table
    from harness.compare.words import PHASES

    sizes: dict[tuple[str, str, int, str], dict[str, TimeRatio]] = {}
    for one in result.interleaved:
        sizes.setdefault((one.task, one.weights, one.frames, one.resolution), {})[one.phase] = one
    table = new_table(stream)
    for name in ("task", "weights", "frames", "pixels"):
        table.add_column(name, no_wrap=True)
    for name in (*PHASES.values(), "rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for (task, weights, frames, resolution), phases in sizes.items():
        cells = [task, weights, str(frames), resolution]
        for phase in PHASES:
            found = phases.get(phase)
            cells.append(NONE if found is None else f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}]")
        cells.append(str(max(one.rounds for one in phases.values())))
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    show_table(table, stream)
    typer.echo(
        f"times of {one_line(result.first.name)} over those of {one_line(result.second.name)}, measured in "
        "turns, with 95 % intervals over rounds"
    )
