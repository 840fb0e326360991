"""From cells to points: models that differ in their seed alone become one row with a mean and a spread.

The interval over samples and the spread over seeds stay apart. A point's interval is the mean of its models'
intervals: what the sampling of questions does to one model. Its minimum and maximum are over models.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.frame import POINT, resolution_label
from harness.report.text import numbered

MEAN_COLUMNS = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "chance",
    "oracle_blind",
    "oracle_last_frame",
)
MEDIAN_COLUMNS = (
    "peak_bytes",
    "resting_bytes",
    "above_resting_bytes",
    "host_peak_bytes",
    "state_bytes",
    "parameters",
    "prefill_flops",
    "encode_ms",
    "ttft_ms",
    "ttft_q25_ms",
    "ttft_q75_ms",
    "per_frame_ms",
    "per_frame_q25_ms",
    "per_frame_q75_ms",
    "per_token_ms",
    "per_token_q25_ms",
    "per_token_q75_ms",
)
SPREAD_COLUMNS = ("accuracy", "above_resting_bytes", "ttft_ms", "per_frame_ms")
"""Columns whose minimum and maximum over models are kept, as ``COLUMN_min`` and ``COLUMN_max``."""


def over_models(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per point of one setting.

    Columns: those of POINT, ``method_name``, ``resolution``, ``side_px``; ``models`` (successful ones),
    ``seeds`` (text), ``failed``, ``failures`` (text), ``skipped``; ``extrapolated`` (any model); ``scored``
    and ``clips`` (the most of any model); means of accuracies; medians of bytes, times and FLOPs; spreads.
    A point without a successful model has NaN in every measure.
    """
    rows = [
        dict(zip(POINT, point, strict=True)) | _row(group)
        for point, group in cells.groupby(list(POINT), sort=True)
    ]
    return pd.DataFrame.from_records(rows) if rows else pd.DataFrame(columns=[*POINT, *_row(cells)])


def _row(group: pd.DataFrame) -> dict[str, object]:
    ok = group[group["outcome"] == "ok"]
    failed = group[group["outcome"] == "failed"]
    row: dict[str, object] = {
        "method_name": group["method_name"].iloc[0] if len(group) else None,
        "resolution": group["resolution"].iloc[0] if len(group) else None,
        "side_px": group["side_px"].iloc[0] if len(group) else None,
        "models": len(ok),
        "seeds": ", ".join(str(seed) for seed in sorted(ok["seed"])),
        "failed": len(failed),
        "failures": ", ".join(sorted(set(failed["failure"].astype(str)))),
        "skipped": int((group["outcome"] == "skipped").sum()),
        "extrapolated": any(value is True for value in ok["extrapolated"]),
        "scored": numeric(ok["scored"]).max(),
        "clips": numeric(ok["clips"]).max(),
    }
    row |= {name: numeric(ok[name]).mean() for name in MEAN_COLUMNS}
    row |= {name: numeric(ok[name]).median() for name in MEDIAN_COLUMNS}
    for name in SPREAD_COLUMNS:
        row[f"{name}_min"] = numeric(ok[name]).min()
        row[f"{name}_max"] = numeric(ok[name]).max()
    return row


def numeric(column: pd.Series) -> pd.Series:
    """The column as floats, with NaN where there is no data."""
    return pd.to_numeric(column, errors="coerce").astype(float)


def reference_point(points: pd.DataFrame) -> tuple[int, int, int] | None:
    """Frames, height and width at which methods are compared.

    Of the places where the most methods have an accuracy without extrapolation, the one with the most frames,
    then the most pixels; with extrapolation where there is nothing else; None without any accuracy.
    """
    usable = points[points["accuracy"].notna()]
    trained = usable[~usable["extrapolated"].astype(bool)]
    usable = trained if len(trained) else usable
    if not len(usable):
        return None
    count = usable.groupby(["frames", "height", "width"])["method"].nunique()
    places = count[count == count.max()].index.to_frame(index=False)
    pixels = places["height"] * places["width"]
    best = places.assign(pixels=pixels).sort_values(["frames", "pixels", "height"]).iloc[-1]
    return int(best["frames"]), int(best["height"]), int(best["width"])


def place_name(place: tuple[int, int, int]) -> str:
    """A place in words."""
    frames, height, width = place
    return f"{numbered(frames, 'frame')}, {resolution_label(height, width)} pixels"


def at(points: pd.DataFrame, place: tuple[int, int, int]) -> pd.DataFrame:
    """The rows at a place given by frames, height and width."""
    frames, height, width = place
    return points[
        (points["frames"] == frames) & (points["height"] == height) & (points["width"] == width)
    ].reset_index(drop=True)


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
