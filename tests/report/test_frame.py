from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.records import Ok, Timing
from harness.report.frame import CELL_COLUMNS, kinds_to_frame, records_to_frame, settings
from harness.report.labels import method_labels
from harness.report.points import at, over_models, reference_point
from tests.measured import known, memory_of
from tests.report import synthetic as s


def test_one_row_per_record_with_documented_columns() -> None:
    frame = records_to_frame(s.run())
    assert len(frame) == 3 * 2 * 6 * 3
    assert list(frame.columns[: len(CELL_COLUMNS)]) == list(CELL_COLUMNS)
    assert set(frame.columns[len(CELL_COLUMNS) :]) == {"state_text_kv_bytes", "state_image_kv_bytes"}


def test_measures_arrive_in_their_units() -> None:
    cell = s.key(frames=4)
    measures = s.measures(cell)
    row = records_to_frame([s.record(cell)], clips={cell.digest: 30}).iloc[0]
    assert row["above_resting_bytes"] == memory_of(measures).peak_bytes - memory_of(measures).resting_bytes
    assert row["state_bytes"] == sum(memory_of(measures).state_bytes.values())
    assert (
        row["ttft_ms"] == known(measures.latency.encode).median_ms + known(measures.latency.prefill).median_ms
    )
    assert measures.latency.per_frame is not None
    assert (row["per_frame_q25_ms"], row["per_frame_q75_ms"]) == measures.latency.per_frame.quartiles_ms
    assert row["clips"] == 30
    assert row["limit"] == "all"


def test_no_data_is_missing_and_never_zero() -> None:
    cell = s.key()
    full = s.measures(cell)
    bare = full.model_copy(
        update={
            "accuracy": s.accuracy(None, 0, None),
            "by_kind": {},
            "prefill_flops": None,
            "memory": memory_of(full).model_copy(update={"state_bytes": {}}),
            "latency": full.latency.model_copy(update={"per_frame": None, "per_token": None}),
        }
    )
    row = records_to_frame([s.record(cell, Ok(measures=bare)), s.record(s.key(frames=2), s.failed())]).iloc
    for name in (
        "accuracy",
        "chance",
        "oracle_blind",
        "state_bytes",
        "per_frame_ms",
        "prefill_flops",
        "clips",
    ):
        assert pd.isna(row[1][name]), name
    assert row[0]["outcome"] == "failed"
    assert pd.isna(row[0]["peak_bytes"])
    assert row[0]["message"] == "out_of_memory while measuring"


def test_unparsed_answers_are_among_the_questions() -> None:
    cell = s.key()
    full = s.measures(cell)
    assert full.accuracy is not None
    unparsed = full.accuracy.model_copy(update={"scored": 3, "unparsed": 4, "errors": 5})
    frame = records_to_frame([s.record(cell, Ok(measures=full.model_copy(update={"accuracy": unparsed})))])
    assert frame.iloc[0][["questions", "scored", "unparsed", "errors"]].tolist() == [7, 3, 4, 5]
    assert over_models(frame).iloc[0]["questions"] == 7


def test_a_method_with_several_configs_is_named_by_what_differs() -> None:
    keys = [
        s.key("casa", method_config={"gists": 2, "window": 8}),
        s.key("casa", method_config={"gists": 4, "window": 8}),
        s.key("vanilla_ca", method_config={"window": 8}),
    ]
    assert method_labels(keys) == ["casa [gists=2]", "casa [gists=4]", "vanilla_ca"]


def test_where_defaults_are_known_a_label_is_the_command_lines_name() -> None:
    keys = [s.key("casa", method_config={"gists": k, "keys": "image"}) for k in (2, 4)] + [
        s.key("vanilla_ca")
    ]
    defaults = {"casa": {"gists": 2, "keys": "image", "every": 1}}
    assert method_labels(keys, defaults) == ["casa", "casa:gists=4", "vanilla_ca"]


def test_cells_that_differ_in_more_than_the_seed_are_never_joined() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"task_version": 2},
        {"limit": 10},
        {"view_seed": 1},
        {"dtype": "bfloat16"},
        {"task_config": {"clips": 5}},
    ]
    frame = records_to_frame([s.record(s.key(**change)) for change in changes])
    sizes = sorted(len(over_models(rows)) for _, rows in settings(frame))
    assert sizes == [1] * 6
    assert sorted(over_models(rows)["models"].iloc[0] for _, rows in settings(frame)) == [1, 1, 1, 1, 1, 2]


def test_points_keep_the_sampling_interval_apart_from_the_spread_over_seeds() -> None:
    cells = [s.key(seed=seed) for seed in (0, 1, 2)]
    points = over_models(records_to_frame([s.record(cell) for cell in cells]))
    accuracies = [s.measures(cell).accuracy for cell in cells]
    means = [one.mean for one in accuracies if one is not None and one.mean is not None]
    lows = [one.low for one in accuracies if one is not None and one.low is not None]
    (row,) = points.to_dict("records")
    assert row["accuracy"] == pytest.approx(sum(means) / 3)
    assert row["accuracy_low"] == pytest.approx(sum(lows) / 3)
    assert (row["accuracy_min"], row["accuracy_max"]) == (min(means), max(means))
    assert row["seeds"] == "0, 1, 2"


def test_a_point_counts_what_failed_and_was_skipped() -> None:
    points = over_models(records_to_frame(s.run()))
    failed = points[points["failed"] > 0]
    assert failed[["method", "frames", "resolution", "failed", "failures", "models"]].values.tolist() == [
        ["token_insertion", 32, "64", 3, "out_of_memory", 0]
    ]
    assert points[points["skipped"] > 0][["method", "frames", "models"]].values.tolist() == [["casa", 1, 2]]


def test_methods_are_compared_where_most_of_them_have_results_inside_the_trained_range() -> None:
    points = over_models(records_to_frame(s.run()))
    assert reference_point(points) == (16, 64, 64)
    assert reference_point(points[points["frames"] == 32]) == (32, 32, 32)
    assert reference_point(points[points["failed"] > 0]) is None
    assert len(at(points, (16, 64, 64))) == 3


def test_kinds_keep_the_order_of_the_task() -> None:
    kinds = kinds_to_frame([s.record(s.key())])
    assert kinds["kind"].tolist() == list(s.KINDS)
    assert kinds_to_frame([s.record(s.key(), s.failed())]).empty


def test_an_empty_store_gives_empty_frames_with_columns() -> None:
    frame = records_to_frame([])
    assert list(frame.columns) == list(CELL_COLUMNS)
    assert list(settings(frame)) == []
    assert over_models(frame).empty


def test_one_raw_sample_has_no_spread() -> None:
    cell = s.key()
    full = s.measures(cell)
    latency = full.latency.model_copy(update={"per_token": Timing(raw_ms=(2.5,))})
    row = records_to_frame([s.record(cell, Ok(measures=full.model_copy(update={"latency": latency})))]).iloc[
        0
    ]
    assert row["per_token_ms"] == row["per_token_q25_ms"] == row["per_token_q75_ms"] == 2.5
