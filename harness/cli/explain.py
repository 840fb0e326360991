"""What is said of cells below their table: why some are missing, and what a score does not tell."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.errors import first_line, one_line, say
from harness.report.text import numbered, some

if TYPE_CHECKING:
    from harness.records import Accuracy, Record

_NAMED = 5


def explain(records: Sequence[Record], out: Path, debug: bool) -> None:
    """Say on standard error which cells are missing, which questions do not count and which answers could
    not be parsed; ``out`` is the run's folder."""
    _say_missing(records, debug)
    _say_errors(records, out)
    _say_unparsed(records)


def say_skipped(reasons: Iterable[str | None]) -> None:
    """Each reason once; None for a cell that is not skipped."""
    for reason, count in Counter(reason for reason in reasons if reason is not None).items():
        say(f"skipped {numbered(count, 'cell')}: {one_line(reason)}")


def _say_missing(records: Sequence[Record], debug: bool) -> None:
    """Each reason once."""
    from harness.records import Failed, Skipped

    say_skipped(r.outcome.reason for r in records if isinstance(r.outcome, Skipped))
    failed = [record.outcome for record in records if isinstance(record.outcome, Failed)]
    for (kind, message), count in Counter((f.failure, first_line(f.message)) for f in failed).items():
        say(f"failed {numbered(count, 'cell')}: {kind}: {message}")
    if debug:
        for text in dict.fromkeys(f.traceback for f in failed if f.traceback):
            say(text.rstrip())


def _measured(records: Sequence[Record]) -> Iterator[tuple[Record, Accuracy]]:
    from harness.records import Ok

    for record in records:
        if isinstance(record.outcome, Ok) and record.outcome.measures.accuracy is not None:
            yield record, record.outcome.measures.accuracy


def _say_errors(records: Sequence[Record], out: Path) -> None:
    """Once per task which samples have questions that count for nothing, and what most of them met."""
    from harness.answers import commonest_reason, without_score
    from harness.store import Store

    named: dict[str, dict[str, None]] = {}
    reasons: dict[str, list[str | None]] = {}
    for record, accuracy in _measured(records):
        if accuracy.errors:
            with contextlib.suppress(OSError, ValueError):
                wrong = without_score(Store(out).samples(record.key.digest))
                named.setdefault(record.key.task, {}).update(dict.fromkeys(one.sample for one in wrong))
                reasons.setdefault(record.key.task, []).extend(one.reason for one in wrong)
    for task, samples in named.items():
        shown = ", ".join(list(samples)[:_NAMED]) + (", ..." if len(samples) > _NAMED else "")
        say(
            f"warning: questions about {numbered(len(samples), 'sample')} of {task} could not be asked or "
            f"scored and do not count: {one_line(shown + commonest_reason(reasons[task]))}"
        )


def _say_unparsed(records: Sequence[Record]) -> None:
    """Once per task which methods' answers could often not be parsed, by the worst cell of each."""
    from harness.plan import method_label
    from harness.superseded import RANDOM

    worst: dict[str, dict[str, Accuracy]] = {}
    for record, accuracy in _measured(records):
        # Of random weights a score says nothing anyway.
        if accuracy.often_unparsed and record.key.weights != RANDOM:
            of_task = worst.setdefault(record.key.task, {})
            method = method_label(record.key)
            if method not in of_task or accuracy.unparsed > of_task[method].unparsed:
                of_task[method] = accuracy
    for task, methods in worst.items():
        named = [f"{name} {of.unparsed} of {of.scored + of.unparsed}" for name, of in methods.items()]
        say(
            f"warning: answers on {task} could not be parsed and count as wrong: "
            f"{one_line(some(named, _NAMED))}; the files in samples/ hold them"
        )
