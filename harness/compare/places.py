"""Where two sides can be compared: the same task, view and machine setting, and the same frames shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.compare.sides import Side
from harness.errors import unknown
from harness.records import CellKey, Failed, Measures, Ok, Record, Skipped
from harness.report.points import place_name
from harness.report.text import numbered

SETTING = (
    "task_version",
    "task_config",
    "backbone",
    "dtype",
    "device",
    "batch",
    "limit",
    "view_seed",
)
"""Fields of a cell that both sides must agree on, beside the place; a backbone unless each names its own."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A task, frames per sample, and pixels."""

    task: str
    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.task}, {place_name((self.frames, self.height, self.width))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is asked for; empty means everything."""

    tasks: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    resolutions: tuple[tuple[int, int], ...] = ()

    def accept(self, place: Place) -> bool:
        return (
            (not self.tasks or place.task in self.tasks)
            and (not self.frames or place.frames in self.frames)
            and (not self.resolutions or (place.height, place.width) in self.resolutions)
        )

    def check(self, places: Iterable[Place]) -> None:
        """Raise UsageError for a value that no place has."""
        there = list(places)
        for what, wanted, values in (
            ("task", self.tasks, {place.task for place in there}),
            ("number of frames", map(str, self.frames), {str(place.frames) for place in there}),
            (
                "resolution",
                (f"{height}x{width}" for height, width in self.resolutions),
                {f"{place.height}x{place.width}" for place in there},
            ),
        ):
            for value in wanted:
                if value not in values:
                    raise unknown(what, value, values)


@dataclass(frozen=True, slots=True)
class Model:
    """One measured cell: one trained model at a place."""

    record: Record
    measures: Measures

    @property
    def key(self) -> CellKey:
        return self.record.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A place and setting that both sides have measured, with the models of each."""

    place: Place
    setting: dict[str, str]
    """The fields that both agree on, as JSON."""
    first: tuple[Model, ...]
    second: tuple[Model, ...]


def meet(first: Side, second: Side, filters: Filters) -> tuple[list[Met], list[str]]:
    """What can be compared, and in words what cannot and why."""
    sides = (first, second)
    across = first.backbone is not None and second.backbone is not None
    fields = tuple(name for name in SETTING if not (across and name == "backbone"))
    cells = [_by_place(side, fields) for side in sides]
    filters.check(place for cell in cells for place in cell)
    met: list[Met] = []
    refused: list[str] = []
    for place in sorted(place for place in cells[0].keys() | cells[1].keys() if filters.accept(place)):
        settings = [cell.get(place, {}) for cell in cells]
        missing = [side.name for side, there in zip(sides, settings, strict=True) if not there]
        shared = sorted(settings[0].keys() & settings[1].keys())
        if missing:
            refused.append(f"{place}: {missing[0]} has no cell there")
        elif not shared:
            refused.append(f"{place}: {_difference(fields, settings[0], settings[1])}")
        for setting in shared:
            agreed = dict(zip(fields, setting, strict=True))
            found = _measured(place, agreed, settings[0][setting], settings[1][setting], sides)
            if isinstance(found, str):
                refused.append(found)
            else:
                met.append(found)
    return met, refused


def _by_place(side: Side, fields: Sequence[str]) -> dict[Place, dict[tuple[str, ...], list[Record]]]:
    found: dict[Place, dict[tuple[str, ...], list[Record]]] = {}
    for record in side.records:
        key = record.key
        place = Place(key.task, key.frames, key.height, key.width)
        setting = tuple(json.dumps(getattr(key, name), sort_keys=True) for name in fields)
        found.setdefault(place, {}).setdefault(setting, []).append(record)
    return found


def _difference(
    names: Sequence[str], first: Iterable[tuple[str, ...]], second: Iterable[tuple[str, ...]]
) -> str:
    """Names the fields in which the two nearest settings differ."""
    pairs = [(one, two) for one in sorted(first) for two in sorted(second)]
    one, two = min(pairs, key=lambda pair: sum(a != b for a, b in zip(*pair, strict=True)))
    fields = [f"{name} {a} against {b}" for name, a, b in zip(names, one, two, strict=True) if a != b]
    hint = "; to compare across backbones give METHOD@BACKBONE twice" if _only_backbones(fields) else ""
    return f"measured under different settings ({', '.join(fields)}){hint}"


def _only_backbones(fields: Sequence[str]) -> bool:
    return len(fields) == 1 and fields[0].startswith("backbone ")


def _measured(
    place: Place,
    setting: dict[str, str],
    first: Sequence[Record],
    second: Sequence[Record],
    sides: tuple[Side, Side],
) -> Met | str:
    """The models of both sides, or why they cannot be compared."""
    models = []
    for side, records in zip(sides, (first, second), strict=True):
        ok = [Model(one, one.outcome.measures) for one in records if isinstance(one.outcome, Ok)]
        if not ok:
            return f"{place}: {side.name} was not measured ({_why(records)})"
        models.append(tuple(sorted(ok, key=lambda model: (model.key.seed, model.key.weights))))
    shown = [sorted({model.measures.frames_digest for model in side}) for side in models]
    if shown[0] != shown[1] or len(shown[0]) > 1:
        return (
            f"{place}: not the same input, the hashes of the frames shown differ "
            f"({' and '.join(shown[0])} against {' and '.join(shown[1])}); measure both on the same media"
        )
    return Met(place=place, setting=setting, first=models[0], second=models[1])


def _why(records: Sequence[Record]) -> str:
    reasons: dict[str, None] = {}
    for record in records:
        match record.outcome:
            case Failed(failure=failure):
                reasons[f"failed: {failure.replace('_', ' ')}"] = None
            case Skipped(reason=reason):
                reasons[f"skipped: {reason}"] = None
    return f"{numbered(len(records), 'cell')}, {'; '.join(reasons)}"
