"""Everything of a run that a report speaks of, loaded once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from harness.counting.records import CountRecord
from harness.counting.store import FOLDER as COUNTED
from harness.counting.store import load_counted
from harness.records import Ok, Record, SampleOutcome
from harness.report.comparisons import Samples
from harness.report.frame import kinds_to_frame, records_to_frame
from harness.report.labels import Defaults, default_configs
from harness.report.plausible import doubt, misfit
from harness.settings import join
from harness.store import Problem, Store, load_records
from harness.superseded import standing
from harness.timing.records import TimingRecord
from harness.timing.store import FOLDER as TIMINGS
from harness.timing.store import load_timings

OPTIONS = ("task", "frames", "resolution", "seed")
"""Columns that ``harness export`` has options for, which mean the same as a condition on the column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run: its records, what could not be read, and the same as frames.

    ``run`` is the folder as a command line names it; ``cells`` and ``kinds`` are those of
    :mod:`harness.report.frame`; ``counted`` are the run's counted scenarios and ``timings`` its interleaved
    timings, of which there may be none.
    """

    run: str
    records: Sequence[Record]
    problems: Sequence[Problem]
    cells: pd.DataFrame
    kinds: pd.DataFrame
    samples: Samples
    counted: Sequence[CountRecord]
    timings: Sequence[TimingRecord] = ()
    defaults: Defaults = field(default_factory=dict)
    """Default configs of the methods that are known here, which labels leave out."""
    by_digest: Mapping[str, Record] = field(init=False)
    """The records again: making a digest takes longer than most that is asked of a record."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_digest", {record.key.digest: record for record in self.records})

    def export(self, table: str = "cells", **filters: Sequence[object]) -> str:
        """The command that lists the records behind a number: columns with their values, None for no data."""
        words = ["harness", "export", self.run]
        words += [] if table == "cells" else ["--table", table]
        for name, values in filters.items():
            text = join(["" if one is None else str(one) for one in values], ",")
            words += [f"--{name}", text] if name in OPTIONS else ["--where", f"{name}={text}"]
        return shlex.join(words)


class AnswersOnDemand(Mapping[str, Sequence[SampleOutcome]]):
    """Answered questions by a cell's digest, read when they are asked for.

    Few are: methods are compared at one place of the grid, and all of a large run's fill gigabytes.
    """

    def __init__(self, store: Store, digests: Sequence[str]) -> None:
        self._store = store
        self._digests = dict.fromkeys(digests)

    def __getitem__(self, digest: str) -> Sequence[SampleOutcome]:
        if digest not in self._digests:
            raise KeyError(digest)
        return self._store.samples(digest)

    def __contains__(self, digest: object) -> bool:
        return digest in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def gather(run_dir: Path) -> Evidence:
    """Load a run. What cannot be read is in ``problems``; raises UsageError for a folder that is no run's."""
    counted, uncounted = load_counted(run_dir)
    timings, untimed = load_timings(run_dir)
    loaded, problems = load_cells(run_dir)
    doubts = {record.key.digest: doubt(record) for record in loaded}
    plausible = [record for record in loaded if doubts[record.key.digest] is None]
    records, superseded = standing(plausible, run_dir)
    implausible = [
        Problem(run_dir / "records" / f"{digest}.json", reason) for digest, reason in doubts.items() if reason
    ]
    clips, without = _clips(run_dir, records)
    timed = {method.method for one in timings for method in one.key.methods}
    defaults = default_configs(
        {record.key.method for record in records} | {one.key.method for one in counted} | timed
    )
    return Evidence(
        run=_named(run_dir),
        records=records,
        problems=[*problems, *implausible, *superseded, *without, *uncounted, *untimed],
        cells=records_to_frame(records, clips, defaults),
        kinds=kinds_to_frame(records, defaults),
        samples=AnswersOnDemand(Store(run_dir), tuple(clips)),
        counted=counted,
        timings=timings,
        defaults=defaults,
    )


def load_cells(run_dir: Path) -> tuple[list[Record], list[Problem]]:
    """The cells of a run; none where memory was counted, or methods timed, into a folder of its own.

    Raises UsageError for a folder that is no run's.
    """
    beside = any((run_dir / folder).is_dir() for folder in (COUNTED, TIMINGS))
    return ([], []) if beside and not Store(run_dir).records_dir.is_dir() else load_records(run_dir)


def _named(run_dir: Path) -> str:
    """The folder relative to here where it lies below; else its own name: no path of a machine gets out."""
    here, there = Path.cwd().resolve(), run_dir.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) and there != here else there.name


def _clips(run_dir: Path, records: Sequence[Record]) -> tuple[dict[str, int], list[Problem]]:
    """How many clips the answers of a cell are about, by digest, and answers that are not its record's."""
    store = Store(run_dir)
    clips: dict[str, int] = {}
    problems = []
    for record in records:
        digest = record.key.digest
        if isinstance(record.outcome, Ok) and record.outcome.measures.accuracy is not None:
            try:
                outcomes = store.scores(record)
                if reason := misfit(record, outcomes):
                    raise ValueError(reason)
                clips[digest] = len({one.group for one in outcomes})
            except (OSError, ValueError) as error:
                reason = (
                    f"the answers to single questions cannot be read: {' '.join(str(error).split())[:200]}"
                )
                problems.append(Problem(store.sidecar(digest), reason))
    return clips, problems
