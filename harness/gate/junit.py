"""JUnit XML: one test case per check, for the test reports of CI systems."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from harness.errors import InfrastructureError
from harness.files import replace_file
from harness.gate.checks import Check
from harness.gate.run import GateReport

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def junit(report: GateReport) -> str:
    """The document."""
    checks = report.checks
    empty = not report.failures and bool(report.exit_code)
    counts = {"tests": len(checks) + empty, "failures": len(report.failures) + empty, "errors": 0}
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": "harness check", **{name: str(n) for name, n in counts.items()}}
    )
    for check in checks:
        _add(suite, check)
    if empty:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "harness", "name": "something is compared"}
        )
        notes = _clean("; ".join(report.notes) or "no cell was compared with a baseline")
        ElementTree.SubElement(case, "failure", {"message": notes, "type": "nothing compared"}).text = notes
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(suite: ElementTree.Element, check: Check) -> None:
    attributes = {"classname": f"harness.{check.rule}", "name": _clean(check.name)}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    if check.failed:
        failure = {"message": _clean(check.message), "type": check.rule}
        lines = [check.message, *(f"alive: {culprit}" for culprit in check.culprits)]
        ElementTree.SubElement(case, "failure", failure).text = _clean("\n".join(lines))
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(check.message)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def write_junit(report: GateReport, path: Path) -> None:
    """Write the document; raises InfrastructureError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, junit(report).encode())
    except OSError as error:
        raise InfrastructureError(
            f"cannot write {str(path)!r}: {error.strerror or error}; choose another file with --junit"
        ) from error
