"""Rows of counted memory: one per scenario."""

from __future__ import annotations

import json
from pathlib import Path

from harness.counting.records import Cost, CountRecord, NotCounted, Peak
from harness.counting.store import FOLDER, load_counted
from harness.errors import UsageError
from harness.plan import method_label
from harness.report.frame import first_line
from harness.report.labels import default_configs, resolution_label
from harness.store import Problem


def counted_rows(run: Path) -> tuple[list[dict[str, object]], list[Problem]]:
    """A run's scenarios, and the files that hold none; raises UsageError without a folder of them."""
    if not (run / FOLDER).is_dir():
        raise UsageError(
            f"{str(run)!r} holds no folder {FOLDER!r}; give the folder that `harness bench --out` wrote to"
        )
    records, problems = load_counted(run)
    default_configs({record.key.method for record in records})
    return [_row(record) for record in records], problems


def _row(record: CountRecord) -> dict[str, object]:
    key = record.key
    row: dict[str, object] = {
        "digest": key.digest,
        "mode": key.mode,
        "method": method_label(key),
        "method_name": key.method,
        "method_config": json.dumps(
            key.method_config, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ),
        "backbone": key.backbone,
        "frames": key.frames,
        "height": key.height,
        "width": key.width,
        "resolution": resolution_label(key.height, key.width),
        "text_tokens": key.text,
        "text_per_frame_tokens": key.text_per_frame,
        "encode_batch": key.encode_batch,
        "dtype": key.dtype,
        "kernels": key.kernels,
        "optimizer": key.optimizer,
        "outcome": record.outcome.kind,
        "cpu_s": record.cpu_seconds,
        **{f"env_{name}": value for name, value in record.environment.model_dump().items()},
    }
    if isinstance(record.outcome, NotCounted):
        return row | {"message": first_line(record.outcome.message)}
    return row | _peak(record.outcome.peak)


def _peak(peak: Peak) -> dict[str, object]:
    return {
        "peak_bytes": peak.peak_bytes,
        "resting_bytes": peak.resting_bytes,
        "above_resting_bytes": peak.peak_bytes - peak.resting_bytes,
        "phase": peak.phase,
        "peak_site": peak.peak_site,
        "state_bytes": sum(peak.state_bytes.values()) if peak.state_bytes else None,
        "kv_tokens": peak.kv_tokens,
        "parameters": peak.parameters,
        **_cost("counted", peak.counted),
        **(_cost("analytic", peak.analytic) if peak.analytic is not None else {}),
        "attention_routes": ", ".join(peak.routes),
        "substrate": peak.substrate,
        "reason": peak.reason,
        **{f"at_peak_{kind}_bytes": size for kind, size in peak.at_peak.items()},
        **{f"phase_{name}_peak_bytes": size for name, size in peak.phases.items()},
        **{f"state_{kind}_bytes": size for kind, size in peak.state_bytes.items()},
    }


def _cost(source: str, cost: Cost) -> dict[str, object]:
    return {
        f"{source}_kv_bytes": cost.kv_bytes,
        f"{source}_flops": cost.flops,
        f"{source}_moved_bytes": cost.bytes_moved,
    }
