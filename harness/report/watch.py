"""A report that follows a run at work: made again whenever its records change."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.files import writing_to
from harness.records import Record
from harness.report.build import build_report
from harness.store import load_records

Say = Callable[[str], None]
State = tuple[tuple[str, int, int], ...]

_FOLDERS = ("records", "samples")


def watch(run: Path, out: Path | None, say: Say, sleep: Callable[[], None]) -> None:
    """Make the report now and after every change of the run's files, until ``sleep`` raises.

    One line is said per report: the time, the cells and the path. A run that does not exist yet is waited for;
    a report that cannot be made is said and tried again after the next change.
    """
    folder = run / "report" if out is None else out
    seen: State | None = None
    waiting = False
    while True:
        now = state(run)
        if now is None and not waiting:
            say(f"{_clock()}  waiting for records in {str(run)!r}")
        waiting = now is None
        if now is not None and now != seen:
            try:
                say(f"{_clock()}  {refresh(run, folder)}")
            except (HarnessError, OSError) as error:
                say(f"{_clock()}  no report this time: {' '.join(str(error).split())}")
            # Taken before the report was made: what has changed meanwhile is seen at the next look.
            seen = now
        sleep()


def state(run: Path) -> State | None:
    """What tells that a run's files have changed: names, times and sizes; None without any records."""
    found = []
    for name in _FOLDERS:
        try:
            with os.scandir(run / name) as entries:
                # Files that are being written have hidden names.
                found += [_stamp(name, entry) for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            if name == "records":
                return None
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
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tmp-report-") as temporary:
            text = build_report(run, Path(temporary))
            with _uninterrupted():
                # The text last: it names the figures.
                names = sorted(path.name for path in Path(temporary).iterdir() if path != text)
                for name in [*names, text.name]:
                    os.replace(Path(temporary) / name, folder / name)
    records, problems = load_records(run)
    left_out = f", {len(problems)} file(s) left out" if problems else ""
    return f"{cells_done(records)}{left_out}: {folder / text.name}"


def cells_done(records: list[Record]) -> str:
    """How many cells there are, by outcome."""
    counts = Counter(record.outcome.kind for record in records)
    parts = [f"{counts[kind]} {word}" for kind, word in _WORDS.items() if counts[kind]]
    return f"{len(records)} cells ({', '.join(parts)})" if parts else "no cells"


_WORDS = {"ok": "measured", "failed": "failed", "skipped": "skipped"}


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Answer an interrupt after the block, so that no report is half the old and half the new one."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"
