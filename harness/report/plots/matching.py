"""Counted peaks and times in turns that stand for the same thing as a setting's cells, as points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.counting.records import CountRecord
from harness.report.labels import method_labels, resolution_label
from harness.report.timed import TimedSize
from harness.timing.records import PHASES


def counted_points(
    counted: Sequence[CountRecord], cells: pd.DataFrame, defaults: Mapping[str, Mapping[str, object]]
) -> list[dict[str, Any]]:
    """Counted prefills of the methods, settings, backbone, dtype and sizes of ``cells``, as points.

    Text behind every frame is another regime and left out. Where counts differ in the length of the text, the
    kernels or the frames encoded at once, the variant with the most sizes is taken.
    """
    place_columns = ["method", "backbone", "dtype", "frames", "height", "width"]
    wanted = set(cells[place_columns].itertuples(index=False, name=None))
    labels = method_labels([record.key for record in counted], defaults)
    variants: dict[str, list[dict[str, Any]]] = {}
    for record, label in zip(counted, labels, strict=True):
        key = record.key
        place = (label, key.backbone, key.dtype, key.frames, key.height, key.width)
        if record.peak is None or key.mode != "prefill" or key.text_per_frame or place not in wanted:
            continue
        variant = json.dumps([key.text, key.kernels, key.encode_batch])
        variants.setdefault(variant, []).append(
            {
                "method": label,
                "method_name": key.method,
                "frames": key.frames,
                "resolution": resolution_label(key.height, key.width),
                "side_px": math.sqrt(key.height * key.width),
                "above_resting_bytes": record.peak.peak_bytes - record.peak.resting_bytes,
                "kernels": key.kernels,
                "text": key.text,
            }
        )
    return max(variants.values(), key=len, default=[])


def timed_points(sizes: Sequence[TimedSize], points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A point per size and method, with ``turns_PHASE_ms`` and its quartiles; None for one that failed.

    It is extrapolated where one of the cells' ``points`` with the same resolution and no more frames is.
    """
    names = {row["method"]: row["method_name"] for row in points}
    found: list[dict[str, Any]] = []
    for size in sizes:
        frames, height, width = size.place
        outside = {
            row["method"]
            for row in points
            if row["extrapolated"]
            and (row["height"], row["width"]) == (height, width)
            and row["frames"] <= frames
        }
        for label in (*size.times, *size.failed):
            failure = size.failed.get(label)
            values: dict[str, float | None] = {}
            for phase in PHASES:
                low = middle = high = None
                if failure is None:
                    timing = size.times[label].phases[phase].timing
                    middle, (low, high) = timing.median_ms, timing.quartiles_ms
                column = f"turns_{phase}"
                values |= {f"{column}_ms": middle, f"{column}_q25_ms": low, f"{column}_q75_ms": high}
            found.append(
                {
                    "method": label,
                    "method_name": names[label],
                    "frames": frames,
                    "resolution": resolution_label(height, width),
                    "side_px": math.sqrt(height * width),
                    "models": 1,
                    "rounds": size.record.rounds,
                    "extrapolated": label in outside,
                    "failed": int(failure is not None),
                    "failures": "" if failure is None else failure.failure,
                    "out_of_memory": "",
                    **values,
                }
            )
    return found
