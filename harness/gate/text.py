"""The gate's outcome for people: a table of orders, then what is not as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.text import Text

from harness.cli.errors import one_line
from harness.cli.table import new_table, show_table
from harness.gate.checks import Check
from harness.gate.names import growth_name
from harness.gate.run import GateReport
from harness.scaling import Growth

SHOWN, SHOWN_ALIVE = 2, 4
_COLUMNS = ("growth", "order", "declared", "law")


def print_report(report: GateReport, stream: TextIO) -> None:
    """The whole outcome."""
    _print_orders(report, stream)
    for line in lines(report):
        print(line, file=stream)


def _print_orders(report: GateReport, stream: TextIO) -> None:
    """One row per growth that says something: those whose order is checked, and all with text per frame."""
    checks = {check.name: check for check in report.checks if check.rule in ("order", "declaration")}
    rows = [one for one in report.growths if growth_name(one) in checks or not one.fixed_text]
    rows = [growth for growth in rows if len(growth.points) > 1]
    if not rows:
        return
    table = new_table(stream)
    for name in _COLUMNS:
        table.add_column(name, no_wrap=True, justify="right" if name in ("order", "declared") else "left")
    for growth in rows:
        table.add_row(*map(Text, _row(growth, checks.get(growth_name(growth)))))
    show_table(table, stream)


def _row(growth: Growth, check: Check | None) -> tuple[str, ...]:
    order = growth.order
    value = "?" if order is None or order.value is None else f"{order.value:.2f}"
    declared = "" if check is None or check.allowed is None else f"{check.allowed:g}"
    mark = " FAILED" if check is not None and check.failed else ""
    return one_line(growth_name(growth)), value, declared + mark, one_line(growth.law)


def lines(report: GateReport) -> Iterator[str]:
    """All but the table, a line each, safe to show on a terminal."""
    said = [check for check in report.checks if check.status in ("better", "noted")]
    for check, more in _last_of_each(said):
        yield f"{check.status}: {one_line(check.name)}: {one_line(check.message)}" + more
    for note in report.notes:
        yield f"note: {one_line(note)}"
    for check, more in _last_of_each(report.failures):
        yield f"FAILED {check.rule}: {one_line(check.name)}: {one_line(check.message)}" + more
        for culprit in check.culprits[:SHOWN_ALIVE]:
            yield f"    alive at the peak: {one_line(culprit)}"
    yield _summary(report)
    rules = {check.rule for check in report.failures}
    if rules & {"bytes", "baseline", "counting"}:
        first = " once all can be, or its method is in known_failures" if "counting" in rules else ""
        yield f"to accept what was counted as the new baseline{first}: {report.update_command}"


def _last_of_each(checks: Sequence[Check]) -> Iterator[tuple[Check, str]]:
    """The last few checks (the largest sizes) of every rule, method and mode, and how many more there are."""
    kinds: dict[tuple[str, ...], list[Check]] = {}
    for check in checks:
        kinds.setdefault((check.rule, check.status, *check.name.split(" · ")[:2]), []).append(check)
    for same in kinds.values():
        more = f" (and {len(same) - SHOWN} more; --json has all)" if len(same) > SHOWN else ""
        for check in same[-SHOWN:]:
            yield check, more if check is same[-1] else ""


def _summary(report: GateReport) -> str:
    count = Counter(check.status for check in report.checks)
    where = one_line(report.baseline_path)
    cells = f"{report.compared} of {len(report.records)} cells compared with {where}"
    if report.written:
        cells = f"{len(report.records)} cells written to {where}"
    elif report.baseline is not None:
        cells += f" (torch {report.baseline.torch}, {report.baseline.date[:10]})"
    failed = f"{count['failed']} of {len(report.checks)} checks failed"
    return f"{cells}; {failed}" + (f", {count['better']} better" if count["better"] else "")
