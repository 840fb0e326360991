"""What stands under every plot: hardware, versions, commit, sample sizes and seeds."""

from __future__ import annotations

import pandas as pd

from harness.report.points import numeric, rows_of
from harness.report.text import listed, numbered


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _range(column: pd.Series, noun: str) -> str:
    values = numeric(column).dropna()
    if not len(values):
        return f"unknown number of {noun}s"
    low, high = int(values.min()), int(values.max())
    return numbered(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"
