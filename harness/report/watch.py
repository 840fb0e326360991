"""A report that follows a run at work: made again whenever its records change."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.files import remove_abandoned, writing_to
from harness.records import Record
from harness.report.build import PAGE, build_report, put_in_place
from harness.report.text import numbered
from harness.store import load_records

State = tuple[tuple[str, int, int], ...]

_FOLDERS = ("records", "samples")
_TEMPORARY = ".tmp-report-"
_WORDS = {"ok": "measured", "failed": "failed", "skipped": "skipped"}


def watch(run: Path, out: Path | None, say: Callable[[str], None], sleep: Callable[[], None]) -> None:
    """Make the report now and after every change of the run's files, until ``sleep`` raises.

    One line is said per report: the time, the cells and the path. A run that does not exist yet is waited
    for. What stands in a report's way is said once, and tried again at every look.
    """
    folder = run / "report" if out is None else out
    remove_abandoned(folder.parent, f"{_TEMPORARY}*")
    seen: State | None = None
    said = ""
    while True:
        # Read before the report is made: what changes meanwhile is seen at the next look.
        now = state(run)
        line = said
        if now is None:
            line = f"waiting for records in {str(run)!r}"
        elif now != seen:
            try:
                line, seen, said = refresh(run, folder), now, ""
            except (HarnessError, OSError) as error:
                line = f"no report: {' '.join(str(error).split())}"
        if line != said:
            say(f"{datetime.now():%H:%M:%S}  {line}")
            said = line
        sleep()


def state(run: Path) -> State | None:
    """What tells that a run's files have changed: names, times and sizes; None without any."""
    found = []
    for name in _FOLDERS:
        try:
            with os.scandir(run / name) as entries:
                # Files that are being written have hidden names.
                found += [_stamp(name, entry) for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            continue
    return tuple(sorted(found)) or None


def _stamp(folder: str, entry: os.DirEntry[str]) -> tuple[str, int, int]:
    path = f"{folder}/{entry.name}"
    try:
        status = entry.stat()
    except FileNotFoundError:  # Removed since the folder was listed.
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size


def refresh(run: Path, folder: Path) -> str:
    """Make the report beside its folder, put it in place, and say what it covers."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_TEMPORARY) as temporary:
            text = build_report(run, Path(temporary))
            # The text last: it names the figures.
            files = [path for path in Path(temporary).rglob("*") if path.is_file() and path != text]
            names = sorted(str(path.relative_to(temporary)) for path in files)
            with _uninterrupted():
                put_in_place(Path(temporary), folder, [*names, text.name])
    records, problems = load_records(run)
    left_out = f", {len(problems)} file(s) left out" if problems else ""
    return f"{cells_done(records)}{left_out}: {folder / PAGE}"


def cells_done(records: Sequence[Record]) -> str:
    """How many cells there are, by outcome."""
    counts: Counter[str] = Counter(record.outcome.kind for record in records)
    parts = [f"{counts[kind]} {word}" for kind, word in _WORDS.items() if counts[kind]]
    return f"{numbered(len(records), 'cell')} ({', '.join(parts)})" if parts else "no cells"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Answer an interrupt after the block, so that no report is half the old and half the new one.

    Not by blocking the signals: another thread, of a numerical library, may take one in place of this one.
    """
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda caught_number, frame: caught.append(caught_number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt
