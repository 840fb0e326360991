"""Counted peaks that stand for the same thing as a setting's measured ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.counting.records import CountRecord
from harness.report.frame import method_labels, resolution_label


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
