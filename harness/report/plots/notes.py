"""What stands under every plot: hardware, versions, commit, sample sizes and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.points import numeric, rows_of
from harness.report.style import ordered
from harness.report.text import listed, numbered
from harness.report.timed import TimedSize


def notes(cells: pd.DataFrame) -> tuple[str, ...]:
    """Hardware, versions, commit, sample sizes and seeds of the successful cells (of all where none is)."""
    ok = cells[cells["outcome"] == "ok"]
    shown = ok if len(ok) else cells
    hardware = [
        " + ".join(part for part in (_text(row["env_cpu"]), _text(row["env_gpu"])) if part)
        + f", {numbered(row['env_threads'], 'thread')}"
        for row in rows_of(shown[["env_cpu", "env_gpu", "env_threads"]].drop_duplicates())
    ]
    versions = [
        f"harness {row['env_harness']}, commit {_text(row['env_commit'])[:10] or 'unknown'}"
        + ("+dirty" if row["env_dirty"] is True else "")
        for row in rows_of(shown[["env_harness", "env_commit", "env_dirty"]].drop_duplicates())
    ]
    torch = sorted(set(shown["env_torch"].astype(str)))
    seeds = sorted(set(shown["seed"]))
    return (
        "; ".join(hardware),
        f"torch {' / '.join(torch)}; " + "; ".join(versions),
        f"{_range(ok['questions'], 'question')} from {_range(ok['clips'], 'clip')} per cell; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}",
    )


def timed_notes(cells: pd.DataFrame, sizes: Sequence[TimedSize]) -> tuple[str, ...]:
    """Where the times of ``sizes`` come from, and which of the cells' methods have none."""
    if not sizes:
        return ()
    records = [one.record for one in sizes]
    where = {
        " + ".join(part for part in (one.environment.cpu, one.environment.gpu) if part)
        + f", {numbered(one.key.threads, 'thread')}, commit {(one.environment.commit or 'unknown')[:10]}"
        + ("+dirty" if one.environment.dirty is True else "")
        for one in records
    }
    rounds = listed([str(count) for count in sorted({one.rounds for one in records})])
    seeds = listed([str(seed) for seed in sorted({one.key.seed for one in records})])
    known = {label for one in sizes for label in (*one.times, *one.failed)}
    names = dict(zip(cells["method"], cells["method_name"], strict=True))
    missing = [label for label in ordered(list(names.items())) if label not in known]
    busy = sum(one.crowded for one in records)
    return (
        f"times in turns: {'; '.join(sorted(where))}; {rounds} rounds in one process a size, seed {seeds}, "
        "without vision encoding",
        *([f"load above the number of processors at {busy} of {len(records)} timings"] if busy else []),
        *([f"not timed in turns: {listed(missing)}"] if missing else []),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _range(column: pd.Series, noun: str) -> str:
    values = numeric(column).dropna()
    if not len(values):
        return f"unknown number of {noun}s"
    low, high = int(values.min()), int(values.max())
    return numbered(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"
