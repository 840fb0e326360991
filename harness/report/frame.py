"""Records as tidy data frames: one row per cell, one row per cell and kind, one row per point over models.

Units are in the column names (``_bytes``, ``_ms``, ``_flops``); accuracies are shares in 0..1; no
data is NaN or None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from harness.records import Accuracy, Failed, Inputs, Measures, Memory, Ok, Record, Skipped, Timing
from harness.report.labels import Defaults, canonical, cell_labels, resolution_label

SETTING = (
    "task",
    "task_version",
    "task_config",
    "backbone",
    "dtype",
    "device",
    "batch",
    "limit",
    "view_seed",
)
"""What two cells share that stand in one table. ``task_config`` is JSON; ``limit`` is "all" or a number."""

POINT = ("method", "frames", "height", "width")
"""What names a point of a curve within a setting."""

ROW_ORDER = (*SETTING, *POINT, "seed", "weights")

IDENTITY = (
    "digest",
    *SETTING,
    "method",
    "method_name",
    "frames",
    "height",
    "width",
    "resolution",
    "seed",
    "weights",
)
"""What a row about a part of a cell tells of the cell."""

CELL_COLUMNS: dict[str, str] = {
    "digest": "names the record's file, records/DIGEST.json, and its answers, samples/DIGEST.jsonl.gz",
    "task": "registered name",
    "task_version": "version of its prompts, sampler and scorer",
    "task_config": "settings of the task, canonical JSON",
    "backbone": "registered name, or a name made from the folder",
    "dtype": "of weights and activations",
    "device": "where the cell ran",
    "batch": "samples per forward pass where accuracy is measured",
    "limit": "most samples of the task, or all",
    "view_seed": "seed of the frame sampler",
    "method": "label: the name, with the config fields that were set as on the command line",
    "method_name": "registered name",
    "method_config": "every setting of the method, canonical JSON",
    "frames": "frames per sample",
    "height": "pixels",
    "width": "pixels",
    "resolution": "label: the side in pixels, or height x width where they differ",
    "side_px": "square root of height times width, pixels",
    "seed": "seed of the trained model",
    "weights": "hash of the trained weights, random, or none where they are missing",
    "plugins": "files that registered more, as given, each with @ and the hash of its content; None where "
    "unknown, as in schema 1",
    "model_folders": "folders searched for weights, as given; None where unknown, as in schema 1",
    "outcome": "ok, failed or skipped",
    "failure": "kind of failure",
    "out_of_memory": "phases of a measured cell that ran out of memory, separated by commas: memory, encode, "
    "prefill, per_frame, per_token, flops; None where all fitted",
    "message": "first line of the failure's message or the skip's reason",
    "extrapolated": "frames or resolution outside what the weights were trained on; None where unknown",
    "parameters": "number of parameters",
    "accuracy": "mean score",
    "accuracy_low": "lower end of the 95 % interval over samples",
    "accuracy_high": "upper end of the 95 % interval over samples",
    "questions": "questions that the accuracy is over: scored and unparsed",
    "scored": "answers that could be parsed",
    "unparsed": "answers that could not be parsed, counted as wrong",
    "errors": "questions without a score",
    "clips": "independent groups of questions",
    "chance": "expected score of a uniform guess",
    "oracle_blind": "score of the oracle that sees the question only",
    "oracle_last_frame": "score of the oracle that sees the last frame and the question",
    "aggregates": "the task's own metrics over all answers, as JSON; None without",
    "peak_bytes": "peak of the prefill, parameters included",
    "resting_bytes": "live before the prefill: parameters, buffers, inputs",
    "above_resting_bytes": "peak_bytes less resting_bytes",
    "memory_source": "counted (live tensors) or cuda (allocator)",
    "reserved_bytes": "the CUDA allocator's reserved peak",
    "host_peak_bytes": "the process's high-water mark, with all that the run's tasks import",
    "state_bytes": "kept between frames, all kinds together",
    "encode_ms": "vision encoding of all frames, median",
    "prefill_ms": "prefill, median",
    "ttft_ms": "time to first token: encode median plus prefill median",
    "ttft_q25_ms": "sum of both first quartiles",
    "ttft_q75_ms": "sum of both third quartiles",
    "per_frame_ms": "appending one encoded frame, median",
    "per_frame_q25_ms": "first quartile",
    "per_frame_q75_ms": "third quartile",
    "per_token_ms": "decoding one token, median",
    "per_token_q25_ms": "first quartile",
    "per_token_q75_ms": "third quartile",
    "prefill_flops": "floating point operations of the prefill",
    "frames_digest": "hash over every frame that was shown",
    "attention_routes": "attention kernels that ran",
    "env_harness": "version of the harness",
    "env_python": "version",
    "env_torch": "version and build",
    "env_transformers": "version",
    "env_platform": "operating system",
    "env_cpu": "processor",
    "env_cpu_count": "processors of the machine",
    "env_threads": "CPU threads of the cell",
    "env_gpu": "graphics card; None on a CPU",
    "env_cuda": "version; None on a CPU",
    "env_commit": "commit of the harness; None outside a checkout",
    "env_dirty": "whether the harness's code differed from that commit",
    "started_at": "UTC, ISO 8601",
    "duration_s": "wall seconds of the cell",
}
"""The fixed columns of :func:`records_to_frame`; a ``state_KIND_bytes`` column per kind of state follows."""

KIND_COLUMNS = (
    "kind",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "questions",
    "scored",
    "unparsed",
    "errors",
    "chance",
    "oracle_blind",
    "oracle_last_frame",
)


def _accuracy(accuracy: Accuracy | None) -> dict[str, object]:
    if accuracy is None:
        return {}
    return {
        "accuracy": accuracy.mean,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "questions": accuracy.scored + accuracy.unparsed,
        "scored": accuracy.scored,
        "unparsed": accuracy.unparsed,
        "errors": accuracy.errors,
        "chance": accuracy.chance,
        **{f"oracle_{name}": value for name, value in accuracy.oracles.items()},
    }


def _timing(name: str, timing: Timing | None) -> dict[str, object]:
    if timing is None:
        return {}
    low, high = timing.quartiles_ms
    return {f"{name}_ms": timing.median_ms, f"{name}_q25_ms": low, f"{name}_q75_ms": high}


def _first_token(encode: Timing | None, prefill: Timing | None) -> dict[str, object]:
    """Both phases, and their sum where both were timed."""
    row: dict[str, object] = {
        "encode_ms": encode and encode.median_ms,
        "prefill_ms": prefill and prefill.median_ms,
    }
    if encode is not None and prefill is not None:
        low, high = (sum(ends) for ends in zip(encode.quartiles_ms, prefill.quartiles_ms, strict=True))
        row |= {"ttft_ms": encode.median_ms + prefill.median_ms, "ttft_q25_ms": low, "ttft_q75_ms": high}
    return row


def _memory(memory: Memory | None) -> dict[str, object]:
    if memory is None:
        return {}
    return {
        "peak_bytes": memory.peak_bytes,
        "resting_bytes": memory.resting_bytes,
        "above_resting_bytes": memory.peak_bytes - memory.resting_bytes,
        "memory_source": memory.source,
        "reserved_bytes": memory.reserved_bytes,
        "host_peak_bytes": memory.host_peak_bytes,
        "state_bytes": sum(memory.state_bytes.values()) if memory.state_bytes else None,
        **{f"state_{kind}_bytes": size for kind, size in memory.state_bytes.items()},
    }


def _measures(measures: Measures) -> dict[str, object]:
    latency = measures.latency
    return {
        "extrapolated": measures.extrapolated,
        "parameters": measures.parameters,
        **_accuracy(measures.accuracy),
        "aggregates": canonical(measures.aggregates) if measures.aggregates else None,
        "out_of_memory": ", ".join(one.phase for one in measures.out_of_memory) or None,
        **_memory(measures.memory),
        **_first_token(latency.encode, latency.prefill),
        **_timing("per_frame", latency.per_frame),
        **_timing("per_token", latency.per_token),
        "prefill_flops": measures.prefill_flops,
        "frames_digest": measures.frames_digest,
        "attention_routes": ", ".join(measures.attention_routes),
    }


def _inputs(inputs: Inputs | None) -> dict[str, object]:
    if inputs is None:
        return {"plugins": None, "model_folders": None}
    plugins = (f"{plugin.path}@{plugin.sha256 or 'unknown'}" for plugin in inputs.plugins)
    return {"plugins": ", ".join(plugins), "model_folders": ", ".join(inputs.models)}


def first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""


def _identity(record: Record, label: str) -> dict[str, object]:
    key = record.key
    return {
        "digest": key.digest,
        "task": key.task,
        "task_version": key.task_version,
        "task_config": canonical(key.task_config),
        "method": label,
        "method_name": key.method,
        "method_config": canonical(key.method_config),
        "frames": key.frames,
        "height": key.height,
        "width": key.width,
        "resolution": resolution_label(key.height, key.width),
        "side_px": float(np.sqrt(key.height * key.width)),
        "backbone": key.backbone,
        "weights": key.weights,
        "seed": key.seed,
        **_inputs(record.inputs),
        "view_seed": key.view_seed,
        "limit": "all" if key.limit is None else str(key.limit),
        "batch": key.batch,
        "dtype": key.dtype,
        "device": key.device,
        "started_at": record.started_at,
        "duration_s": record.duration_s,
        **{f"env_{name}": value for name, value in record.environment.model_dump().items()},
    }


def cell_rows(
    records: Sequence[Record],
    clips: Mapping[str, int] | None = None,
    defaults: Defaults = MappingProxyType({}),
) -> list[dict[str, object]]:
    """One row per record: what there is of :data:`CELL_COLUMNS`, and bytes by kind of state.

    ``clips`` maps a cell's digest to its number of independent groups of questions, where known; for
    ``defaults`` see :func:`harness.report.labels.method_labels`.
    """
    rows = []
    labels = cell_labels(records, defaults)
    for record, label in zip(records, labels, strict=True):
        row = _identity(record, label) | {"clips": (clips or {}).get(record.key.digest)}
        match record.outcome:
            case Ok(measures=measures):
                row |= {"outcome": "ok", **_measures(measures)}
            case Failed(failure=failure, message=message):
                row |= {"outcome": "failed", "failure": failure, "message": first_line(message)}
            case Skipped(reason=reason):
                row |= {"outcome": "skipped", "message": first_line(reason)}
        rows.append(row)
    return rows


def records_to_frame(
    records: Sequence[Record],
    clips: Mapping[str, int] | None = None,
    defaults: Defaults = MappingProxyType({}),
) -> pd.DataFrame:
    """The rows of :func:`cell_rows` with all columns of :data:`CELL_COLUMNS`, in a stable order."""
    return _ordered(cell_rows(records, clips, defaults), list(CELL_COLUMNS), sort=list(ROW_ORDER))


def kind_rows(
    records: Sequence[Record], defaults: Defaults = MappingProxyType({})
) -> list[dict[str, object]]:
    """One row per successful record and kind of question: what identifies it and :data:`KIND_COLUMNS`."""
    rows = []
    labels = cell_labels(records, defaults)
    for record, label in zip(records, labels, strict=True):
        if isinstance(record.outcome, Ok):
            known = _identity(record, label)
            for kind, accuracy in record.outcome.measures.by_kind.items():
                rows.append(
                    {name: known[name] for name in IDENTITY}
                    | {"kind": kind, "extrapolated": record.outcome.measures.extrapolated}
                    | _accuracy(accuracy)
                )
    return rows


def kinds_to_frame(records: Sequence[Record], defaults: Defaults = MappingProxyType({})) -> pd.DataFrame:
    """The rows of :func:`kind_rows` with all their columns, in a stable order."""
    columns = [*IDENTITY, "extrapolated", *KIND_COLUMNS]
    return _ordered(kind_rows(records, defaults), columns, sort=list(ROW_ORDER))


def _ordered(rows: list[dict[str, object]], columns: list[str], sort: list[str]) -> pd.DataFrame:
    extra = sorted({name for row in rows for name in row} - set(columns))
    frame = (
        pd.DataFrame.from_records(rows, columns=columns + extra) if rows else pd.DataFrame(columns=columns)
    )
    return frame.sort_values(sort, ignore_index=True, key=_sortable, kind="stable") if rows else frame


def _sortable(column: pd.Series) -> pd.Series:
    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


def settings(cells: pd.DataFrame) -> Iterable[tuple[dict[str, object], pd.DataFrame]]:
    """The settings of a frame, each with its rows."""
    for values, rows in cells.groupby(list(SETTING), sort=True, dropna=False):
        yield dict(zip(SETTING, values, strict=True)), rows.reset_index(drop=True)
