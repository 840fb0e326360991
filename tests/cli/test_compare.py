"""``harness compare``: what is printed, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.timing.store import open_timings, write_timing
from tests.compare.stores import cell, rate
from tests.timing import made

from .conftest import World


@pytest.fixture
def run(world: World) -> Path:
    folder = world.folder / "compared"
    for seed in range(2):
        cell(folder, "toy", rate(seed, 0.9), seed=seed, method_config={"gists": 8})
        cell(folder, "other", rate(100 + seed, 0.4), seed=seed)
    return folder


def test_the_verdict_comes_first_and_the_tables_follow(world: World, run: Path) -> None:
    done = world.run("compare", "toy:gists=8", "other", "--run", run)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("toy:gists=8 is more accurate than other at videoqa, 8 frames, 64 pixels")
    assert any("videoqa" in line and "past" in line and line.rstrip(" |").endswith("yes") for line in lines)
    assert "paired tests: sign flips" in done.stdout
    assert "times are not interleaved" in done.stdout
    assert "interleaved times: " not in done.stdout


def test_json_is_one_document(world: World, run: Path) -> None:
    document = json.loads(world.run("compare", "toy:gists=8", "other", "--run", run, "--json").stdout)
    place = document[0]["places"][0]
    assert (document[0]["first"], place["frames"], place["setting"]["batch"]) == ("toy:gists=8", 8, 16)
    overall = place["answers"][0]
    assert overall["kind"] is None
    assert overall["claimed"] is True
    assert overall["difference"]["low"] <= overall["difference"]["mean"] <= overall["difference"]["high"]
    assert overall["seed_spread"]["models"] == 2
    assert place["peak_bytes"]["ratio"] == pytest.approx(1, abs=0.5)
    assert set(place["times_ms"]["prefill"]["first"]) == {"median", "q25", "q75"}
    assert place["times_interleaved"] is False


def test_times_that_were_taken_in_turns_are_shown_as_ratios(world: World, run: Path) -> None:
    timed = made.record({"other": [1.0] * 7, "toy": [2.0] * 7}, frames=8)
    methods = tuple(
        method.model_copy(update={"method_config": {"gists": 8}}) if method.method == "toy" else method
        for method in timed.key.methods
    )
    open_timings(run)
    write_timing(run, timed.model_copy(update={"key": timed.key.model_copy(update={"methods": methods})}))
    arguments = ("compare", "toy:gists=8", "other", "--run", run)
    assert "2.00 [2.00, 2.00]" in world.run(*arguments).stdout
    (document,) = json.loads(world.run(*arguments, "--json").stdout)
    assert {one["ratio"] for one in document["time_ratios"]} == {2.0}


def test_a_wrong_label_is_a_usage_error_with_near_matches(world: World, run: Path) -> None:
    done = world.run("compare", "toy:gists=9", "other", "--run", run)
    assert done.exit_code == 2
    assert "did you mean 'toy:gists=8'" in done.stderr


def test_nothing_to_compare_is_told_from_no_difference(world: World, run: Path) -> None:
    cell(run, "far", rate(0, 0.5), dtype="bfloat16")
    done = world.run("compare", "other", "far", "--run", run)
    assert done.exit_code == 3
    assert (
        'nothing to compare: videoqa, 8 frames, 64 pixels: measured under different settings (dtype "float32"'
        in (done.stderr)
    )


def test_runs_without_a_common_method_have_nothing_to_compare(world: World, run: Path) -> None:
    cell(world.folder / "second", "far", rate(0, 0.5))
    done = world.run("compare", run, world.folder / "second")
    assert done.exit_code == 3
    assert "have no method in common" in done.stderr


def test_files_that_do_not_count_are_warned_of(world: World, run: Path) -> None:
    (run / "records" / "old.json").write_text("{")
    done = world.run("compare", "toy:gists=8", "other", "--run", run)
    assert done.exit_code == 0
    assert "old.json does not count" in done.stderr
