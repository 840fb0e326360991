"""What is compared: a method's label in a run, ``RUN::METHOD``, or two folders of runs, method by method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.errors import UsageError, unknown
from harness.plan import method_label
from harness.records import Record
from harness.report.frame import method_labels
from harness.store import Problem, load_records

DEFAULT_RUN = Path("results/reference")
SEPARATOR = "::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One method in one run; ``name`` tells it from the other side."""

    name: str
    label: str
    run: Path
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """What the user gave for one side: a run, and a method unless the whole run is meant."""

    run: Path
    method: str | None


def find_sides(first: str, second: str, run: Path | None) -> tuple[list[tuple[Side, Side]], list[Problem]]:
    """The pairs to compare, and the files of both runs that do not count.

    ``run`` is where labels without a run of their own are looked up, by default ``results/reference``.
    Raises UsageError for what is neither a run nor a label, and for two sides that are the same.
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
    sides = []
    for named, method in ((one, one.method), (two, two.method)):
        if method not in runs[named.run]:
            raise unknown(f"method of {str(named.run)!r}", method, runs[named.run])
        name = method if one.run == two.run else f"{named.run}{SEPARATOR}{method}"
        sides.append(Side(name=name, label=method, run=named.run, records=runs[named.run][method]))
    return [(sides[0], sides[1])], problems


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
        loaded[folder], unreadable = load_records(folder)
        problems += unreadable
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
