"""GitHub annotations: workflow commands that show a failure beside the line that allocated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.gate.places import Place, place_of, relative
from harness.gate.run import GateReport

MOST = 10
"""GitHub shows as many errors of a step and drops the rest."""


def workflow_commands(report: GateReport, root: Path, sources: Sequence[Path] = ()) -> list[str]:
    """One line for each failure, as many as GitHub shows; ``root`` is the repository's."""
    config = relative(report.config_path, root)
    fallback = None if config is None else Place(config, 1)
    shown = report.failures if len(report.failures) <= MOST else report.failures[: MOST - 1]
    lines = []
    for check in shown:
        culprit = f"\n{check.culprits[0]}" if check.culprits else ""
        place = place_of(check, root, sources) or fallback
        lines.append(error(f"harness check: {check.rule}", f"{check.name}: {check.message}{culprit}", place))
    rest = len(report.failures) - len(shown)
    if rest:
        lines.append(error("harness check", f"{rest} more failures are in the step's log", fallback))
    if not report.failures and report.exit_code:
        notes = "; ".join(report.notes) or "no cell was compared with a baseline"
        lines.append(error("harness check", notes, fallback))
    return lines


def error(title: str, message: str, place: Place | None) -> str:
    """One workflow command."""
    properties = (
        {"title": title} if place is None else {"file": place.file, "line": place.line, "title": title}
    )
    joined = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::error {joined}::{_data(_printable(message))}"


def _printable(message: str) -> str:
    """The message's lines, without what would steer a terminal that shows the log."""
    return "".join(c if c.isprintable() or c in "\r\n" else " " for c in message)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
