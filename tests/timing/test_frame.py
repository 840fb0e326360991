"""Frames of timings, ratios of pairs, and where an order turns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.timing.crossings import crossings, sentence
from harness.timing.frame import RATIO_COLUMNS, TIMING_COLUMNS, ratios, timings_to_frame
from harness.timing.records import PHASES
from tests.timing.made import FAILED, around, record


def test_one_row_per_method_phase_and_round_and_one_per_failure() -> None:
    frame = timings_to_frame([record({"one": around(3), "two": FAILED, "one #2": around(4)}, 2)])
    assert list(frame.columns) == list(TIMING_COLUMNS)
    assert len(frame) == 2 * len(PHASES) * 7 + 1
    assert list(frame["method"].unique()) == ["one", "two", "one #2"]
    failed = frame[frame["outcome"] == "failed"].iloc[0]
    assert (failed["failure"], failed["message"], failed["frames"]) == ("out_of_memory", "planted", 2)
    assert pd.isna(failed["ms"])
    first = frame[(frame["method"] == "one") & (frame["phase"] == "prefill")]
    assert tuple(first["ms"]) == around(3)
    assert list(first["round"]) == list(range(7))
    assert set(first["resolution"]) == {"8x16"}
    assert set(first["weights"]) == {"random"}


def test_settings_of_a_method_are_in_its_label() -> None:
    one = record({"a": around(1), "b": around(2)})
    document = one.model_dump(mode="json")
    for method, gists in zip(document["key"]["methods"], (2, 4), strict=True):
        method |= {"method": "toy", "method_config": {"gists": gists}}
    labelled = timings_to_frame([type(one).model_validate(document)])
    assert list(labelled["method"].unique()) == ["toy [gists=2]", "toy [gists=4]"]


def test_no_records_make_empty_frames_with_all_columns() -> None:
    assert list(timings_to_frame([]).columns) == list(TIMING_COLUMNS)
    assert list(ratios([]).columns) == list(RATIO_COLUMNS)
    assert crossings(ratios([])) == []


def test_ratios_pair_what_was_timed_in_one_round() -> None:
    # One slow round hits both; the ratio does not see it.
    base = np.array([1, 1, 1, 50, 1, 1, 1.0])
    frame = ratios([record({"one": (2 * base).tolist(), "bad": FAILED, "two": base.tolist()})])
    assert [(row["first"], row["second"]) for _, row in frame.iterrows()] == [("one", "two")] * len(PHASES)
    assert frame[["ratio", "low", "high"]].to_numpy() == pytest.approx(2)
    assert set(frame["rounds"]) == {7}


def test_two_copies_under_a_load_that_changes_have_a_ratio_of_1() -> None:
    """The estimator on rounds of two equal methods: the load walks, and each time has its own noise."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        load = np.exp(np.cumsum(rng.normal(0, 0.3, 30)))
        noise = np.exp(rng.exponential(0.1, (2, 30)))
        one, two = 5 * load * noise
        frame = ratios([record({"one": one.tolist(), "one #2": two.tolist()}, rounds=30)])
        held += int(((frame["low"] <= 1) & (frame["high"] >= 1)).all())
    assert held >= 183  # 95 % of 200, less 2.3 standard deviations


def curve(*middles: tuple[int, float]) -> pd.DataFrame:
    """Ratios one / two: at a ratio of 1 the two are the same up to noise."""
    return ratios(
        [record({"one": around(5 * ratio), "two": around(5, seed=1)}, frames) for frames, ratio in middles]
    )


def test_an_order_turns_where_both_sides_are_told_apart_from_noise() -> None:
    found = crossings(curve((1, 0.5), (4, 0.8), (16, 1.0), (64, 1.5)))
    assert [one.phase for one in found] == list(PHASES)
    one = found[-1]
    assert (one.faster_before, one.faster_after) == ("one", "two")
    assert (one.before, one.unclear, one.after) == ((1, 4), (16,), (64,))
    assert sentence(one) == (
        "At 8x16 pixels one decodes a token faster than two up to 4 frames, two at 64; "
        "at 16 it cannot be told."
    )


def test_an_order_that_turns_twice_is_two_crossings() -> None:
    found = [
        one for one in crossings(curve((1, 2), (2, 0.5), (4, 0.4), (8, 2), (16, 3))) if one.phase == "prefill"
    ]
    assert [sentence(one) for one in found] == [
        "At 8x16 pixels two prefills faster than one at 1 frame, one from 2 to 4.",
        "At 8x16 pixels one prefills faster than two from 2 to 4 frames, two from 8 on.",
    ]


@pytest.mark.parametrize(
    "middles", [((1, 0.5), (2, 0.5)), ((1, 0.5), (2, 1.0)), ((1, 1.0), (2, 1.0)), ((1, 0.5),)]
)
def test_nothing_is_claimed_where_an_interval_contains_1(middles: tuple[tuple[int, float], ...]) -> None:
    assert crossings(curve(*middles)) == []


def test_a_single_round_turns_nothing() -> None:
    records = [record({"one": [ms], "two": [1.0]}, frames, rounds=1) for frames, ms in ((1, 0.5), (2, 2.0))]
    assert ratios(records)[["low", "high"]].isna().all(axis=None)
    assert crossings(ratios(records)) == []


def test_sizes_of_different_experiments_make_no_crossing() -> None:
    slow = record({"one": around(10), "two": around(5, seed=1)}, 2, threads=2)
    wide = record({"one": around(10), "two": around(5, seed=1)}, 2, width=32)
    quick = record({"one": around(2), "two": around(5, seed=1)}, 1)
    assert crossings(ratios([quick, slow, wide])) == []
