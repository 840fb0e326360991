"""Every model on every task, in one table: accuracy, and beside it what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.published_models import METHOD
from harness.report.document import Block, Cell, Column, Notice, Section, Source, Table, Text, cell
from harness.report.evidence import Evidence
from harness.report.frame import settings
from harness.report.points import over_models, place_name, rows_of
from harness.report.sources import PLACE, cells_source
from harness.report.style import SHIPPED
from harness.report.tables import MIB
from harness.report.text import NO_DATA, interval, known, number, share

TITLE = "Models and tasks"
SEVERAL_BACKBONES = (
    "Rows of different backbones differ in more than the fusion: in the language model, the vision encoder "
    "and what both were trained on. An order between them is none of fusion methods."
)
RANDOM = "Models of random weights are marked as random. Their costs mean something, their accuracies do not."
_COLUMN = ("task", "task_version", "task_config", "limit")
_ROW = ("method", "backbone", "random", "dtype", "device", "batch", "view_seed")

Point = Mapping[str, Any]
Id = tuple[object, ...]
Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row says of its model, and the method's label."""

    model: str
    backbone: str
    weights: str
    method: str


@dataclass(frozen=True, slots=True)
class _Grid:
    """Points over seeds by model, task and place; rows and columns in order, with what they are called."""

    points: Mapping[tuple[Id, Id, Place], Point]
    rows: Mapping[Id, _Row]
    columns: Mapping[Id, str]

    @property
    def places(self) -> list[Place]:
        """Fewest frames first."""
        return sorted({place for _, _, place in self.points})

    def at(self, row: Id, place: Place) -> dict[Id, Point]:
        """A model's points at a place, by task."""
        found = {column: self.points.get((row, column, place)) for column in self.columns}
        return {column: point for column, point in found.items() if point is not None}


def section(evidence: Evidence) -> Section | None:
    """None for a run of one task on one backbone, whose own section has it all."""
    cells = evidence.cells
    if not (cells["outcome"] == "ok").any():
        return None
    if cells["task"].nunique() < 2 and cells["backbone"].nunique() < 2:
        return None
    grid = _grid(evidence)
    place = _reference(grid)
    here = (cells["frames"] == place[0]) & (cells["height"] == place[1]) & (cells["width"] == place[2])
    source = cells_source(evidence, set(cells[here]["digest"]), named=PLACE)
    blocks: list[Block] = [_table(grid, place, source)]
    if cells["backbone"].nunique() > 1:
        blocks.insert(0, Text(SEVERAL_BACKBONES))
    if (cells["weights"] == "random").any():
        blocks.insert(0, Notice(RANDOM))
    parts = []
    if len(grid.places) > 1:
        everywhere = _table(grid, None, cells_source(evidence, set(cells["digest"])))
        parts.append(Section(title="At every number of frames and resolution", blocks=(everywhere,)))
    return Section(title=TITLE, blocks=tuple(blocks), parts=tuple(parts))


def _grid(evidence: Evidence) -> _Grid:
    cells = evidence.cells.assign(random=evidence.cells["weights"] == "random")
    points: dict[tuple[Id, Id, Place], Point] = {}
    for random, same in cells.groupby("random", sort=True):
        for values, setting in settings(same):
            for point in rows_of(over_models(setting)):
                whole = {**values, **point, "random": bool(random)}
                place = (point["frames"], point["height"], point["width"])
                points[_id(whole, _ROW), _id(whole, _COLUMN), place] = whole
    rows = _unique(points, _ROW, _row_order)
    columns = _unique(points, _COLUMN, lambda one: _id(one, _COLUMN))
    titles = _told_apart(list(columns.values()), "task", _task_settings)
    models = _told_apart(list(rows.values()), "method", _row_settings)
    measured = {row for (row, _, _), point in points.items() if point["models"]}
    return _Grid(
        points,
        {
            row: _Row(model, one["backbone"], _weights(one, row in measured), one["method"])
            for (row, one), model in zip(rows.items(), models, strict=True)
        },
        dict(zip(columns, titles, strict=True)),
    )


def _weights(point: Point, measured: bool) -> str:
    """A model that was never measured may have none."""
    given = "published" if point["method_name"] == METHOD else "trained"
    return "random" if point["random"] else given if measured else NO_DATA


def _unique(
    points: Mapping[tuple[Id, Id, Place], Point], names: Collection[str], order: Callable[[Point], Id]
) -> dict[Id, Point]:
    """The rows or the columns, each with one of its points."""
    found = {_id(point, names): point for point in points.values()}
    return dict(sorted(found.items(), key=lambda item: tuple(map(_sortable, order(item[1])))))


def _row_order(point: Point) -> Id:
    rank = {name: index for index, name in enumerate(SHIPPED)}
    return (rank.get(point["method_name"], len(SHIPPED)), *_id(point, _ROW))


def _sortable(value: object) -> tuple[bool, object]:
    return (True, value) if isinstance(value, int | float) else (False, str(value))


def _id(point: Point, names: Iterable[str]) -> Id:
    return tuple(point[name] for name in names)


def _told_apart(
    points: Sequence[Point], name: str, settings_of: Callable[[Point], Mapping[str, object]]
) -> list[str]:
    """The names; where several share one, each with the settings in which they differ."""
    called = []
    for point in points:
        same = [settings_of(one) for one in points if one[name] == point[name]]
        own = settings_of(point)
        fields = {field: None for one in same for field in one}
        differing = [field for field in fields if len({str(one.get(field)) for one in same}) > 1]
        told = ", ".join(f"{field.replace('_', ' ')} {own.get(field)}" for field in differing)
        called.append(f"{point[name]} ({told})" if told else str(point[name]))
    return called


def _task_settings(point: Point) -> dict[str, object]:
    return {
        "task_version": point["task_version"],
        "limit": point["limit"],
        **json.loads(point["task_config"]),
    }


def _row_settings(point: Point) -> dict[str, object]:
    """Backbone and weights have columns of their own."""
    return {name: point[name] for name in ("dtype", "device", "batch", "view_seed")}


def _reference(grid: _Grid) -> Place:
    """Where the most models have an accuracy on the most tasks, the fewest of them by extrapolation; of
    several such places the one with the most frames, then the most pixels."""

    def rank(place: Place) -> Id:
        there = [point for (_, _, at), point in grid.points.items() if at == place and point["models"]]
        scored = [point for point in there if known(point["accuracy"])]
        trained = sum(not point["extrapolated"] for point in scored)
        return (len(scored), len(there), trained, place[0], place[1] * place[2], place[1])

    return max(grid.places, key=rank)


def _table(grid: _Grid, place: Place | None, source: Source) -> Table:
    """A row per model at a place; at every place where it has a cell for None."""
    where = [place] if place is not None else grid.places
    lines = [(row, at) for row in grid.rows for at in where if grid.at(row, at)]
    sizes = ["frames", "pixels"] if place is None else []
    at_which = "every size" if place is None else place_name(place)
    return Table(
        name="models" if place is not None else "models_everywhere",
        caption=f"Every model on every task at {at_which}: accuracy with its 95 % interval over samples and "
        "the number of questions n, * outside what the model was trained on. Peak memory and the median time "
        "to first token are from the least to the most over the tasks of the row.",
        columns=(
            *(Column(title, numeric=False) for title in ("model", "backbone", "weights")),
            *(Column(title) for title in (*sizes, "peak MiB", "first token ms", *grid.columns.values())),
        ),
        rows=tuple(
            (
                cell(grid.rows[row].model),
                cell(grid.rows[row].backbone),
                cell(grid.rows[row].weights),
                *(_size(grid.at(row, at)) if sizes else ()),
                _range(grid.at(row, at), "peak_bytes", MIB),
                _range(grid.at(row, at), "ttft_ms", 1),
                *(_accuracy(grid.at(row, at).get(column)) for column in grid.columns),
            )
            for row, at in lines
        ),
        methods=tuple(grid.rows[row].method for row, _ in lines),
        source=source,
    )


def _size(points: Mapping[Id, Point]) -> tuple[Cell, Cell]:
    point = next(iter(points.values()))
    return cell(str(point["frames"]), point["frames"]), cell(point["resolution"], point["side_px"])


def _accuracy(point: Point | None) -> Cell:
    if point is None:
        return cell(NO_DATA)
    if not point["models"]:
        return cell(f"failed: {point['failures'].replace('_', ' ')}" if point["failed"] else "skipped")
    if not known(point["accuracy"]):
        return cell(NO_DATA)
    mark = "*" if point["extrapolated"] else ""
    text = f"{share(point['accuracy'])} {interval(point['accuracy_low'], point['accuracy_high'])}"
    return cell(f"{text}, n {point['questions']:,.0f}{mark}", float(point["accuracy"]))


def _range(points: Mapping[Id, Point], name: str, unit: float) -> Cell:
    """From the least to the most over the tasks; sorted by the most."""
    values = [point[name] / unit for point in points.values() if known(point[name])]
    if not values:
        return cell(NO_DATA)
    low, high = number(min(values)), number(max(values))
    return cell(low if low == high else f"{low} to {high}", float(max(values)))
