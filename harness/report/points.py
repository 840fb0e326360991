"""From cells to points: models that differ in their seed alone become one row with a mean and a spread.

The interval over samples and the spread over seeds stay apart. A point's interval is the mean of its models'
intervals: what the sampling of questions does to one model. Its minimum and maximum are over models.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.report.frame import POINT
from harness.report.labels import resolution_label
from harness.report.text import numbered

Over = Literal["frames", "resolution"]
"""What curves are drawn against."""
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
TIME_PHASES = {"ttft": ("encode", "prefill"), "per_frame": ("per_frame",), "per_token": ("per_token",)}
"""Times, and the phases that each is made of."""
SPREAD_COLUMNS = ("accuracy", "above_resting_bytes", "ttft_ms", "per_frame_ms")
"""Columns whose minimum and maximum over models are kept, as ``COLUMN_min`` and ``COLUMN_max``."""


def over_models(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per point of one setting.

    Columns: those of POINT, ``method_name``, ``resolution``, ``side_px``; ``models`` (successful ones),
    ``seeds`` (text), ``failed``, ``failures`` (text), ``out_of_memory`` (phases of any measured model, text),
    ``skipped``; ``extrapolated`` (any model);
    ``questions`` and ``clips`` (the most of any model); means of accuracies; medians of bytes, times and
    FLOPs; spreads. A point without a successful model has NaN in every measure.
    """
    where = list(POINT)
    ok, failed = cells[cells["outcome"] == "ok"], cells[cells["outcome"] == "failed"]
    every = cells.groupby(where, sort=True)
    done = _floats(ok).groupby(where, sort=True)
    single = ok.groupby(where, sort=True)
    spread = list(SPREAD_COLUMNS)
    columns: list[pd.DataFrame | pd.Series] = [
        every[["method_name", "resolution", "side_px"]].first(),
        single.size().rename("models"),
        single["seed"].agg(_listing).rename("seeds"),
        failed.groupby(where).size().rename("failed"),
        failed.groupby(where)["failure"].agg(_listing).rename("failures"),
        single["out_of_memory"].agg(_phases).rename("out_of_memory"),
        cells[cells["outcome"] == "skipped"].groupby(where).size().rename("skipped"),
        single["extrapolated"]
        .agg(lambda values: any(value is True for value in values))
        .rename("extrapolated"),
        done[["questions", "clips"]].max(),
        done[list(MEAN_COLUMNS)].mean(),
        done[list(MEDIAN_COLUMNS)].median(),
        done[spread].min().add_suffix("_min"),
        done[spread].max().add_suffix("_max"),
    ]
    points = pd.concat([column.reindex(columns[0].index) for column in columns], axis=1)
    counts = {name: points[name].fillna(0).astype(int) for name in ("models", "failed", "skipped")}
    names = ("seeds", "failures", "out_of_memory")
    texts = {name: points[name].astype(object).fillna("") for name in names}
    extrapolated = points["extrapolated"].astype(object).fillna(False).astype(bool)
    return points.assign(**counts, **texts, extrapolated=extrapolated).reset_index()


def _floats(cells: pd.DataFrame) -> pd.DataFrame:
    names = [*MEAN_COLUMNS, *MEDIAN_COLUMNS, "questions", "clips"]
    return cells.assign(**{name: numeric(cells[name]) for name in names})


def _phases(values: pd.Series) -> str:
    named = [value for value in values if isinstance(value, str)]
    return ", ".join(sorted({phase for value in named for phase in value.split(", ")}))


def ran_out(row: dict[str, Any], *phases: str) -> bool:
    """Whether any of a point's measured models ran out of memory in one of these phases."""
    return not set(phases).isdisjoint(row["out_of_memory"].split(", "))


def _listing(values: pd.Series) -> str:
    return ", ".join(str(value) for value in sorted(set(values)))


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


def _values(column: pd.Series) -> list[Any]:
    """The column's values as Python has them."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "bif":
        return column.tolist()
    return [value.item() if isinstance(value, np.generic) else value for value in column.astype(object)]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries; column by column, which takes a third of what pandas takes for it."""
    names = [str(name) for name in frame.columns]
    columns = [_values(column) for _, column in frame.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
