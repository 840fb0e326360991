"""Timing records: what they refuse, and how they lie on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import InfrastructureError, UsageError
from harness.timing.records import TIMING_SCHEMA, TimingRecord
from harness.timing.store import FOLDER, load_timings, open_timings, read_timing, write_timing
from tests.timing.made import FAILED, around, key, record


def test_a_record_loads_again_as_it_was_written(tmp_path: Path) -> None:
    open_timings(tmp_path)
    records = [record({"one": around(3), "two": FAILED}, frames) for frames in (16, 2)]
    for one in records:
        write_timing(tmp_path, one)
    assert load_timings(tmp_path) == (records[::-1], [])
    assert read_timing(tmp_path, records[0].key.digest) == records[0]
    assert read_timing(tmp_path, "0" * 16) is None
    assert [path.suffix for path in (tmp_path / FOLDER).iterdir()] == [".json"] * 2


def test_raw_times_stand_on_one_line(tmp_path: Path) -> None:
    open_timings(tmp_path)
    one = record({"one": around(3), "two": around(4)})
    write_timing(tmp_path, one)
    (path,) = (tmp_path / FOLDER).iterdir()
    assert path.read_text().count('"raw_ms": [') == path.read_text().count('"inner": 1') == 6
    assert len(path.read_text().splitlines()) < 120


def test_a_record_holds_one_outcome_per_method_and_one_time_per_round() -> None:
    document = record({"one": around(3), "two": around(4)}).model_dump(mode="json")
    for changed in (
        document | {"outcomes": document["outcomes"][:1]},
        document | {"rounds": 8},
        document | {"note": "mine"},
    ):
        with pytest.raises(ValidationError):
            TimingRecord.model_validate_json(json.dumps(changed))


def test_times_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    open_timings(tmp_path)
    with pytest.raises(ValueError, match="raw_ms"):
        write_timing(tmp_path, record({"one": [float("nan")] * 7}))
    assert load_timings(tmp_path) == ([], [])


def test_files_that_hold_no_record_are_problems(tmp_path: Path) -> None:
    open_timings(tmp_path)
    whole = record({"one": around(3)})
    write_timing(tmp_path, whole)
    (path,) = (tmp_path / FOLDER).iterdir()
    text = path.read_text()
    newer = json.dumps(json.loads(text) | {"schema_version": TIMING_SCHEMA + 1})
    cases = {"cut": text[:50], "empty": "", "list": "[]", "renamed": text, "newer": newer}
    for name, content in cases.items():
        (path.parent / f"{name}.json").write_text(content)
    records, problems = load_timings(tmp_path)
    assert records == [whole]
    assert {problem.path.stem for problem in problems} == set(cases)
    with pytest.raises(UsageError, match="newer harness"):
        read_timing(tmp_path, "newer")
    assert read_timing(tmp_path, "cut") is None


def test_a_run_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert load_timings(tmp_path / "nowhere") == ([], [])


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="--out"):
        open_timings(tmp_path / "file" / "run")


def test_sizes_share_a_series_and_have_a_digest_each() -> None:
    small, large = key(frames=1), key(frames=2, height=32)
    assert small.series == large.series != key(threads=2).series
    assert len({small.digest, large.digest, key(("two", "one")).digest}) == 3
