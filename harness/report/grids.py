"""Cells as full grids, which is what one command line plans.

``harness eval`` plans every combination of what its options name. Cells that form no full grid need several:
each cell is in one of them, and none holds a cell more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.published_models import METHOD


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone as ``--backbone`` takes it: ``published`` with its own fusion, ``registered`` under a name,
    or else in a folder."""

    name: str
    published: bool
    registered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every combination of these is a cell; a task and a method are as their options take them."""

    frames: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    backbones: tuple[Backbone, ...]


def grids_of(cells: Iterable[Grid]) -> list[Grid]:
    """Grids of one backbone each from grids of one cell, in the order of their first cells."""
    grids = list(cells)
    for axis in ("frames", "sizes", "seeds", "methods", "tasks"):
        grids = _merged(grids, axis)
    return grids


def over_backbones(grids: Sequence[Grid], *, random: bool) -> list[Grid]:
    """Grids of one backbone put together where one command over several backbones plans the same cells.

    ``random`` says that all weights are random. A single backbone is planned with whatever is named, such as
    a fusion method on a published checkpoint, which is skipped there; and what a folder runs beside other
    backbones depends on what it holds. Such grids keep a command of their own.
    """

    def sort(grid: Grid) -> str | None:
        (backbone,) = grid.backbones
        own = [method.partition(":")[0] == METHOD for method in grid.methods]
        if backbone.published and all(own) and (random or len(grid.seeds) == 1):
            return "published"
        return "decoder" if backbone.registered and not any(own) else None

    alone = [grid for grid in grids if sort(grid) is None]
    decoders, published = (
        _merged([grid for grid in grids if sort(grid) == wanted], "backbones")
        for wanted in ("decoder", "published")
    )
    mixed: list[Grid] = []
    for grid in decoders:
        seeds = grid.seeds if random else grid.seeds[:1]
        same = [one for one in published if _place(one) == _place(grid) and one.seeds == seeds]
        if same:
            published.remove(same[0])
            grid = replace(
                grid,
                methods=grid.methods + same[0].methods,
                backbones=grid.backbones + same[0].backbones,
            )
        mixed.append(grid)
    return [*mixed, *published, *alone]


def _place(grid: Grid) -> Grid:
    """What a grid fixes beside its methods, backbones and seeds: a published model has one set of weights,
    which is measured as the first seed."""
    return replace(grid, methods=(), backbones=(), seeds=())


def _merged(grids: Sequence[Grid], axis: str) -> list[Grid]:
    """Grids that differ in one axis only, put together."""
    groups: dict[Grid, list[Grid]] = {}
    for grid in grids:
        groups.setdefault(replace(grid, **{axis: ()}), []).append(grid)
    numbers = axis in ("frames", "sizes", "seeds")
    order: dict[Any, None] = {value: None for grid in grids for value in getattr(grid, axis)}
    places = {value: place for place, value in enumerate(sorted(order) if numbers else order)}
    found = []
    for rest, group in groups.items():
        values = {value for grid in group for value in getattr(grid, axis)}
        found.append(replace(rest, **{axis: tuple(sorted(values, key=places.__getitem__))}))
    return found
