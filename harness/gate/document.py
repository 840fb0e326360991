"""The gate's outcome for machines: one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from harness.gate.checks import Check
from harness.gate.names import growth_name
from harness.gate.run import GateReport
from harness.plan import method_label
from harness.scaling import Growth

DOCUMENT_SCHEMA: Final = 1


def document(report: GateReport) -> dict[str, Any]:
    """JSON values only; bytes are whole numbers, what is not known is null."""
    baseline = report.baseline
    return {
        "schema_version": DOCUMENT_SCHEMA,
        "exit_code": int(report.exit_code),
        "config": str(report.config_path),
        "baseline": {
            "path": str(report.baseline_path),
            "written": report.written,
            **({} if baseline is None else baseline.model_dump(mode="json", exclude={"cells", "grid"})),
        },
        "cells": len(report.records),
        "compared": report.compared,
        "checks": [_check(check) for check in report.checks],
        "growths": [_growth(growth) for growth in report.growths],
        "notes": list(report.notes),
        "update_command": report.update_command,
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "rule": check.rule,
        "status": check.status,
        "name": check.name,
        "digest": check.digest,
        "message": check.message,
        "measured": check.measured,
        "allowed": check.allowed,
        "unit": check.unit,
        "alive": [
            {**one.alive.model_dump(mode="json"), "grown_bytes": one.grown_bytes} for one in check.culprits
        ],
    }


def _growth(growth: Growth) -> dict[str, Any]:
    return {
        "name": growth_name(growth),
        "method": method_label(growth.key),
        "mode": growth.key.mode,
        "axis": growth.axis,
        "text_per_frame": growth.key.text_per_frame,
        "sizes": [point.size for point in growth.points],
        "peak_bytes": [point.peak_bytes for point in growth.points],
        "order": None if growth.order is None else asdict(growth.order),
        "order_at_least": growth.at_least,
        "bytes_per_unit": growth.bytes_per_unit,
        "bytes_per_kv_token": growth.bytes_per_kv_token,
        "law": growth.law,
    }
