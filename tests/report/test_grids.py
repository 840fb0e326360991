"""Cells put into full grids: each cell in one grid, and no grid with a cell more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from harness.report.grids import Backbone, Grid, grids_of, over_backbones

OURS = Backbone("ours", published=False, registered=True)
OTHER = Backbone("other", published=False, registered=True)
FOLDER = Backbone("./folder", published=False, registered=False)
FIRST = Backbone("./first", published=True, registered=False)
SECOND = Backbone("./second", published=True, registered=False)

Cell = tuple[int, tuple[int, int], int, str, str, Backbone]


def one(frames: int = 1, method: str = "casa", backbone: Backbone = OURS, **changes: object) -> Grid:
    values: dict[str, object] = {"sizes": ((64, 64),), "seeds": (0,), "tasks": ("videoqa",)} | changes
    return Grid(frames=(frames,), methods=(method,), backbones=(backbone,), **values)  # type: ignore[arg-type]


def belongs(method: str, backbone: Backbone) -> bool:
    return (method == "published") == backbone.published


def cells(grids: Sequence[Grid], *, random: bool) -> list[Cell]:
    """What ``harness eval`` plans of grids: of several backbones, pairs that belong together, and published
    weights as the first seed."""
    return [
        cell
        for grid in grids
        for cell in product(grid.frames, grid.sizes, grid.seeds, grid.methods, grid.tasks, grid.backbones)
        if len(grid.backbones) == 1
        or (belongs(cell[3], cell[5]) and (random or not cell[5].published or cell[2] == grid.seeds[0]))
    ]


@given(
    st.lists(
        st.builds(
            one,
            st.integers(1, 3),
            st.sampled_from(["casa", "mllama", "published"]),
            st.sampled_from([OURS, OTHER, FOLDER, FIRST, SECOND]),
            seeds=st.sampled_from([(0,), (1,)]),
            tasks=st.sampled_from([("videoqa",), ("lmms:chartqa",)]),
        ),
        max_size=24,
    ),
    st.booleans(),
)
def test_the_grids_hold_every_cell_once_and_no_other(given_cells: list[Grid], random: bool) -> None:
    expected = set(cells(given_cells, random=random))
    found = cells(over_backbones(grids_of(given_cells), random=random), random=random)
    assert set(found) == expected
    assert len(found) == len(expected)


def test_a_full_grid_is_one_and_an_extra_size_another() -> None:
    grid = [one(frames, method) for frames in (4, 1) for method in ("casa", "mllama")]
    (found,) = grids_of(grid)
    assert (found.frames, found.methods) == ((1, 4), ("casa", "mllama"))
    extra = one(1, sizes=((32, 32),))
    assert len(grids_of([*grid, extra])) == 2


def test_each_method_stays_on_its_backbones_in_one_command() -> None:
    grid = [one(method="casa"), *(one(method="published", backbone=backbone) for backbone in (FIRST, SECOND))]
    (found,) = over_backbones(grids_of(grid), random=False)
    assert found.methods == ("casa", "published")
    assert found.backbones == (OURS, FIRST, SECOND)


def test_published_weights_go_with_the_first_of_several_seeds() -> None:
    ours = [one(seeds=(seed,)) for seed in (0, 1, 2)]
    (found,) = over_backbones(grids_of([*ours, one(method="published", backbone=FIRST)]), random=False)
    assert (found.seeds, found.backbones) == ((0, 1, 2), (OURS, FIRST))
    second = one(method="published", backbone=FIRST, seeds=(1,))
    assert len(over_backbones(grids_of([*ours, second]), random=False)) == 2


def test_what_is_planned_for_a_single_backbone_only_keeps_a_command_of_its_own() -> None:
    skipped = [one(method=method, backbone=FIRST) for method in ("casa", "published")]
    seeds = [one(method="published", backbone=SECOND, seeds=(seed,)) for seed in (0, 1)]
    folder = one(backbone=FOLDER)
    found = over_backbones(grids_of([one(), *skipped, *seeds, folder]), random=False)
    assert sorted(grid.backbones[0].name for grid in found) == ["./first", "./folder", "./second", "ours"]
    assert all(len(grid.backbones) == 1 for grid in found)
    random = over_backbones(grids_of(seeds + [one(seeds=(seed,)) for seed in (0, 1)]), random=True)
    assert [grid.backbones for grid in random] == [(OURS, SECOND)]
