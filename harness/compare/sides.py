"""What is compared: a method's label in a run, ``RUN::METHOD``, or two folders of runs, method by method.

``METHOD@BACKBONE`` is the method on that backbone alone; where both sides name one, they may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.errors import UsageError, unknown
from harness.plan import method_label
from harness.published_models import METHOD
from harness.records import Record
from harness.report.labels import method_labels
from harness.store import Problem, load_records
from harness.superseded import standing

DEFAULT_RUN = Path("results/reference")
SEPARATOR = "::"
ON = "@"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One method in one run; ``name`` tells it from the other side. ``backbone`` is None where none was
    named."""

    name: str
    label: str
    run: Path
    records: tuple[Record, ...]
    backbone: str | None = None


@dataclass(frozen=True, slots=True)
class _Named:
    """What the user gave for one side: a run, and a method unless the whole run is meant."""

    run: Path
    method: str | None


def find_sides(first: str, second: str, run: Path | None) -> tuple[list[tuple[Side, Side]], list[Problem]]:
    """The pairs to compare, and the files of both runs that do not count.

    ``run`` is where labels without a run of their own are looked up, by default ``results/reference``.
    Raises UsageError for what is neither a run nor a label, for a backbone that the method was not measured
    on, and for two sides that are the same.
    """
    one, two = _named(first, run), _named(second, run)
    if (one.method is None) != (two.method is None):
        folder, label = (one, two) if one.method is None else (two, one)
        raise UsageError(
            f"{str(folder.run)!r} is a run and {label.method!r} a method; give two runs, or name the method "
            f"of the run as {folder.run}{SEPARATOR}{label.method}"
        )
    if (one.run.resolve(), one.method) == (two.run.resolve(), two.method):
        raise UsageError(f"both sides are {first!r}; give two methods or two runs")
    runs, problems = _load([one.run, two.run])
    if one.method is None or two.method is None:
        left, right = runs[one.run], runs[two.run]
        shared = [label for label in left if label in right]
        return [
            (
                Side(name=f"{one.run}{SEPARATOR}{label}", label=label, run=one.run, records=left[label]),
                Side(name=f"{two.run}{SEPARATOR}{label}", label=label, run=two.run, records=right[label]),
            )
            for label in shared
        ], problems
    named = ((one.run, one.method), (two.run, two.method))
    sides = [_side(folder, method, runs[folder], alone=one.run == two.run) for folder, method in named]
    return [(sides[0], sides[1])], problems


def _side(run: Path, text: str, methods: Mapping[str, tuple[Record, ...]], *, alone: bool) -> Side:
    """The side that a label, or METHOD@BACKBONE, names; ``alone`` where both sides are of this run."""
    backbone: str | None = None
    label, at, wanted = (text, "", "") if text in methods else text.partition(ON)
    # On one backbone there is one published model, whatever its checkpoint.
    found = (
        methods.get(label) or _published(methods.values()) if at and label == METHOD else methods.get(label)
    )
    if not found:
        raise unknown("method", label, methods, of=repr(str(run)))
    if at:
        backbone = _backbone(wanted, f"{label} in {str(run)!r}", found)
        found = tuple(record for record in found if record.key.backbone == backbone)
    name = f"{label}{ON}{backbone}" if backbone else label
    if not at and {record.key.method for record in found} == {METHOD}:
        backbone = _only({record.key.backbone for record in found})
    return Side(
        name=name if alone else f"{run}{SEPARATOR}{name}",
        label=label,
        run=run,
        records=found,
        backbone=backbone,
    )


def _only(backbones: Collection[str]) -> str | None:
    """A published model is on one backbone, its own: its name names that too, where it is the only one."""
    return next(iter(backbones)) if len(backbones) == 1 else None


def _published(methods: Iterable[Sequence[Record]]) -> tuple[Record, ...]:
    return tuple(record for records in methods for record in records if record.key.method == METHOD)


def _backbone(wanted: str, owner: str, records: Sequence[Record]) -> str:
    """The backbone of a name, which may leave out the digits behind its last @ where one fits."""
    known = sorted({record.key.backbone for record in records})
    fitting = [name for name in known if wanted in (name, name.rpartition(ON)[0])]
    if len(fitting) != 1:
        raise unknown("backbone", wanted, known, of=owner)
    return fitting[0]


def _named(text: str, run: Path | None) -> _Named:
    folder, separator, method = text.rpartition(SEPARATOR)
    if separator:
        if not folder or not method:
            raise UsageError(
                f"{text!r} is no RUN{SEPARATOR}METHOD; give both, or a label alone with --run DIR"
            )
        return _Named(Path(folder), method)
    if (Path(text) / "records").is_dir():
        return _Named(Path(text), None)
    if run is None and not (DEFAULT_RUN / "records").is_dir():
        raise UsageError(
            f"{text!r} is no folder of a run, and there is no {str(DEFAULT_RUN)!r} here to look for a method "
            f"of that name; give --run DIR, or RUN{SEPARATOR}METHOD"
        )
    return _Named(run or DEFAULT_RUN, text)


def _load(
    folders: Sequence[Path],
) -> tuple[dict[Path, dict[str, tuple[Record, ...]]], list[Problem]]:
    """By run and label the records, labels as reports print them, and the files that do not count."""
    registry.discover()
    loaded, problems = {}, []
    for folder in dict.fromkeys(folders):
        records, unreadable = load_records(folder)
        loaded[folder], superseded = standing(records, folder)
        problems += [*unreadable, *superseded]
    # Labels of methods that are not known here depend on what they are told from: on both runs together.
    keys = [record.key for records in loaded.values() for record in records]
    labels = iter(
        method_label(key) if key.method in registry.methods else fallback
        for key, fallback in zip(keys, method_labels(keys), strict=True)
    )
    runs: dict[Path, dict[str, tuple[Record, ...]]] = {}
    for folder, records in loaded.items():
        by_label: dict[str, list[Record]] = {}
        for record in records:
            by_label.setdefault(next(labels), []).append(record)
        runs[folder] = {label: tuple(found) for label, found in sorted(by_label.items())}
    return runs, problems
