"""The columns of every exported table: name, type and meaning. ``docs/export.md`` lists :func:`document`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import unknown
from harness.report.frame import CELL_COLUMNS, IDENTITY, KIND_COLUMNS, POINT, SETTING
from harness.report.points import MEAN_COLUMNS, MEDIAN_COLUMNS, SPREAD_COLUMNS
from harness.timing.frame import RATIO_COLUMNS, TIMING_COLUMNS

DType = Literal["string", "Int64", "Float64", "boolean"]
"""pandas' nullable types: the same whether or not a column has data."""

Columns = Mapping[str, "Column"]


@dataclass(frozen=True, slots=True)
class Column:
    dtype: DType
    description: str


_INT = {
    "task_version", "batch", "view_seed", "frames", "height", "width", "seed", "parameters", "questions",
    "scored", "unparsed", "errors", "clips", "prefill_flops", "env_cpu_count", "env_threads",
    "round", "inner", "rounds", "threads",
}  # fmt: skip
_FLOAT = {
    "side_px", "accuracy", "accuracy_low", "accuracy_high", "chance", "oracle_blind", "oracle_last_frame",
    "duration_s", "ms", "ratio", "low", "high",
}  # fmt: skip
_BOOLEAN = {"extrapolated", "env_dirty"}


def _dtype(name: str) -> DType:
    if name in _INT or name.endswith("_bytes"):
        return "Int64"
    if name in _FLOAT or name.endswith("_ms"):
        return "Float64"
    return "boolean" if name in _BOOLEAN else "string"


def _of_cells(names: Iterable[str]) -> dict[str, Column]:
    return {name: Column(_dtype(name), CELL_COLUMNS[name]) for name in names}


RUN: Columns = {"run": Column("string", "folder of the run, as given")}

CELLS: Columns = {**RUN, **_of_cells(CELL_COLUMNS)}

KINDS: Columns = {
    **RUN,
    **_of_cells((*IDENTITY, "extrapolated")),
    "kind": Column("string", "kind of question"),
    **_of_cells(name for name in KIND_COLUMNS if name != "kind"),
}


def _points() -> dict[str, Column]:
    columns = {
        **RUN,
        **_of_cells((*SETTING, *POINT, "method_name", "resolution", "side_px")),
        "digests": Column("string", "the digests of the point's cells, separated by commas"),
        "models": Column("Int64", "models that were measured"),
        "seeds": Column("string", "their seeds"),
        "failed": Column("Int64", "cells that failed"),
        "failures": Column("string", "kinds of failure"),
        "out_of_memory": Column("string", "phases in which a measured cell ran out of memory"),
        "skipped": Column("Int64", "cells that were skipped"),
        "extrapolated": Column("boolean", "whether that holds for any of the models"),
        "questions": Column("Int64", "the most that any model's accuracy is over"),
        "clips": Column("Int64", "the most independent groups of questions of any model"),
    }
    for name in MEAN_COLUMNS:
        columns[name] = Column("Float64", f"{CELL_COLUMNS[name]}; mean over models")
    for name in MEDIAN_COLUMNS:
        columns[name] = Column("Float64", f"{CELL_COLUMNS[name]}; median over models")
    for end, what in (("min", "least"), ("max", "largest")):
        for name in SPREAD_COLUMNS:
            columns[f"{name}_{end}"] = Column("Float64", f"{what} {name} of the models")
    return columns


POINTS: Columns = _points()

ANSWERS: Columns = {
    **RUN,
    **_of_cells(("digest", "task", "method", "method_name", "frames", "height", "width", "seed")),
    "sample": Column("string", "the sample that is asked about"),
    "clip": Column("string", "independent group of questions, which resampling keeps together"),
    "question": Column("string", "name of the question within its sample"),
    "kind": Column("string", "kind of question"),
    "prediction": Column("string", "what the model answered; None where it could not be asked"),
    "answer": Column("string", "what is right"),
    "status": Column("string", "scored, unparsed (counts as wrong), error or out_of_memory (do not count)"),
    "reason": Column("string", "why there is no score; None where there is one, or none was given"),
    "value": Column("Float64", "score, 0..1"),
    "chance": Column("Float64", "expected score of a uniform guess"),
    "oracle_blind": Column("Float64", "score of the oracle that sees the question only"),
    "oracle_last_frame": Column("Float64", "score of the oracle that sees the last frame and the question"),
    "frames_digest": Column("string", "hash of the sample's frames; None in records that do not tell it"),
    "choice_losses": Column("string", "mean loss per token of each choice, in nats, as JSON; None without"),
}

COUNTED: Columns = {
    **RUN,
    "digest": Column("string", "names the record's file, counted/DIGEST.json"),
    "mode": Column("string", "prefill, decode, stream or train"),
    **_of_cells(("method", "method_name", "method_config")),
    "backbone": Column("string", "registered name or checkpoint folder"),
    **_of_cells(("frames", "height", "width", "resolution")),
    "text_tokens": Column("Int64", "tokens of the fixed text"),
    "text_per_frame_tokens": Column("Int64", "text tokens after every frame"),
    "encode_batch": Column("Int64", "frames that the vision encoder takes at once"),
    "dtype": Column("string", "of weights and activations"),
    "kernels": Column("string", "whose attention kernels are counted"),
    "optimizer": Column("string", "of a training step"),
    "outcome": Column("string", "ok or failed"),
    "message": Column("string", "first line of why it was not counted"),
    "peak_bytes": Column("Int64", "the most bytes live at once"),
    "resting_bytes": Column("Int64", "live before: parameters, buffers, inputs, state to start from"),
    "above_resting_bytes": Column("Int64", "peak_bytes less resting_bytes"),
    "phase": Column("string", "phase in which the peak lies"),
    "peak_site": Column("string", "operator and line at which the peak was reached"),
    "state_bytes": Column("Int64", "kept by the session at the end, all kinds together"),
    "kv_tokens": Column("Int64", "rows of the token stream's cache at the end"),
    "parameters": Column("Int64", "all parameters of the model"),
    **{
        f"{source}_{name}": Column("Int64", f"{meaning}, {by}")
        for source, by in (("counted", "counted"), ("analytic", "by the method's declaration"))
        for name, meaning in (
            ("kv_bytes", "keys and values kept"),
            ("flops", "floating point operations"),
            ("moved_bytes", "memory traffic"),
        )
    },
    "attention_routes": Column("string", "attention kernels that ran"),
    "substrate": Column("string", "tensors without storage (meta) or real ones (cpu)"),
    "reason": Column("string", "why real tensors were used although none were asked for"),
    "cpu_s": Column("Float64", "processor seconds of counting"),
    **_of_cells(name for name in CELL_COLUMNS if name.startswith("env_")),
}

TIMINGS, RATIOS = (
    {**RUN, **{name: Column(_dtype(name), meaning) for name, meaning in described.items()}}
    for described in (TIMING_COLUMNS, RATIO_COLUMNS)
)

OPEN: Mapping[str, Column] = {
    "state_KIND_bytes": Column("Int64", "kept at the end, one column per kind of state"),
    "at_peak_KIND_bytes": Column("Int64", "bytes at the peak, one column per kind; they add up to it"),
    "phase_NAME_peak_bytes": Column("Int64", "the phase's own peak, one column per phase"),
    "oracle_NAME": Column("Float64", "score of another oracle"),
}
"""Columns whose names depend on the data; they follow the fixed ones in alphabetical order."""

TABLES: Mapping[str, Columns] = {
    "cells": CELLS,
    "kinds": KINDS,
    "points": POINTS,
    "answers": ANSWERS,
    "counted": COUNTED,
    "timings": TIMINGS,
    "ratios": RATIOS,
}


def column(table: Columns, name: str) -> Column:
    """What a column is; raises UsageError for a name that no column of the table can have."""
    if name in table:
        return table[name]
    for pattern, known in OPEN.items():
        if re.fullmatch(re.sub("KIND|NAME", ".+", pattern), name):
            return known
    raise unknown("column", name, table)


def document() -> str:
    """Every table's columns as Markdown."""
    parts = []
    for name, columns in {**TABLES, "columns that depend on the data": OPEN}.items():
        lines = [f"### {name}", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{key}` | {one.dtype} | {one.description} |" for key, one in columns.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
