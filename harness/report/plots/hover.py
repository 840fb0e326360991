"""What is said about one point when a reader points at it: values with interval and unit, line by line."""

from __future__ import annotations

from typing import Any

from harness.report.text import interval, known, number, numbered, share
from harness.report.timed import TimedSize

MIB = 2**20
_TIMES = {
    "ttft_ms": "time to first token",
    "per_frame_ms": "time per appended frame",
    "per_token_ms": "time per decoded token",
    "turns_prefill_ms": "prefill without vision encoding",
    "turns_per_frame_ms": "time per appended frame",
    "turns_per_token_ms": "time per decoded token",
}


def point(row: dict[str, Any], *columns: str, front: bool = False) -> str:
    """A point over models: where it is, the columns' values, and what must not be overlooked."""
    lines = [row["method"], _place(row), *(_value(row, column) for column in columns)]
    lines += [f"{row['models']} models; costs are medians, accuracies means"] if row["models"] > 1 else []
    lines += ["extrapolated beyond training"] if row["extrapolated"] else []
    lines += ["on the Pareto front"] if front else []
    return "\n".join(lines)


def turns(row: dict[str, Any], size: TimedSize, *, front: bool) -> str:
    """A point of methods timed in turns: its accuracy, its time and the ratio that is compared."""
    middle = size.times[row["method"]].phases["prefill"].timing.median_ms
    ratio = size.ratio("prefill", row["method"], size.base)
    spread = f", 95 % [{number(ratio.low)}, {number(ratio.high)}]" if known(ratio.low) else ""
    lines = [row["method"], _place(row), _value(row, "accuracy")]
    lines += [f"prefill {number(middle)} ms, median of {numbered(ratio.rounds, 'round')}"]
    lines += [f"{number(ratio.ratio)} of {size.base}'s time{spread}"] if row["method"] != size.base else []
    lines += ["extrapolated beyond training"] if row["extrapolated"] else []
    lines += ["on the Pareto front, as far as intervals tell"] if front else []
    return "\n".join(lines)


def single(row: dict[str, Any], column: str) -> str:
    """One model's value."""
    return "\n".join((f"{row['method']}, seed {row['seed']}", _place(row), _value(row, column)))


def counted(row: dict[str, Any]) -> str:
    """A counted peak and what was assumed."""
    return "\n".join(
        (
            f"{row['method']}, counted",
            _place(row),
            _value(row, "above_resting_bytes"),
            f"{numbered(row['text'], 'text token')}, {row['kernels']} kernels",
        )
    )


def failure(row: dict[str, Any]) -> str:
    """How many models failed and why."""
    if not row["failed"]:
        phases = row["out_of_memory"].replace("_", " ")
        return "\n".join((row["method"], _place(row), f"out of memory ({phases})"))
    what = row["failures"].replace("_", " ")
    return "\n".join((row["method"], _place(row), f"{what} ({numbered(row['failed'], 'model')})"))


def _place(row: dict[str, Any]) -> str:
    return f"{numbered(row['frames'], 'frame')}, {row['resolution']} pixels"


def _value(row: dict[str, Any], column: str) -> str:
    if column == "above_resting_bytes":
        return f"peak memory above resting {number(row[column] / MIB)} MiB"
    if column in _TIMES:
        name = column.removesuffix("_ms")
        low, high = row.get(f"{name}_q25_ms"), row.get(f"{name}_q75_ms")
        text = f"{_TIMES[column]} {number(row[column])} ms, quartiles [{number(low)}, {number(high)}]"
        if column.startswith("turns_"):
            text += f"\ntimed in turns, median of {numbered(row['rounds'], 'round')}"
        return text
    text = f"accuracy {share(row['accuracy'])}, 95 % {interval(row['accuracy_low'], row['accuracy_high'])}"
    text += f", n = {row['questions']:,.0f}" if known(row["questions"]) else ""
    if "accuracy_min" in row and row["models"] > 1:
        text += f"; seeds {share(row['accuracy_min'])} to {share(row['accuracy_max'])}"
    return text
