"""Timing runs: what is kept, what is tried again, what a lost process costs, and a real size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.execute.process import start_server
from harness.records import Failed
from harness.spec import MethodSpec, TaskSpec
from harness.timing.measure import time_size
from harness.timing.plan import TimingJob, make_timing_plan
from harness.timing.records import PHASES, SYNTHETIC, Timed, TimingRecord
from harness.timing.run import Observer, run_timing
from harness.timing.spec import TimingSpec
from harness.timing.store import load_timings
from tests.execute import cells
from tests.timing import fakes


@pytest.fixture(autouse=True, scope="module")
def _server() -> None:
    start_server(cells.PRELOAD)


def spec(folder: Path, *frames: int, **changes: Any) -> TimingSpec:
    values: dict[str, Any] = {
        "methods": (MethodSpec("casa"), MethodSpec("vanilla_ca")),
        "task": None,
        "weights": "random",
        "rounds": 3,
        "cache_dir": folder,
        "out": folder / "run",
        "timeout_s": 60.0,
    }
    return TimingSpec(frames=frames, **(values | changes))


def run(given: TimingSpec, fake: str = "good", observer: Observer | None = None) -> list[TimingRecord]:
    return run_timing(given, observer, measure=f"{fakes.__name__}:{fake}", preload=cells.PRELOAD)


def calls(folder: Path) -> list[int]:
    path = folder / "calls"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_running_again_times_only_what_is_missing(tmp_path: Path) -> None:
    first = run(spec(tmp_path, 4, 1))
    second = run(spec(tmp_path, 4, 1, 2))
    assert calls(tmp_path) == [4, 1, 2]
    assert second[:2] == first
    assert [record.key.frames for record in second] == [4, 1, 2]
    stored, problems = load_timings(tmp_path / "run")
    assert ([record.key.frames for record in stored], problems) == ([1, 2, 4], [])
    assert all(record.load_before is not None and record.load_after is not None for record in stored)


def test_fewer_rounds_than_asked_for_and_no_resume_are_timed_again(tmp_path: Path) -> None:
    run(spec(tmp_path, 1))
    run(spec(tmp_path, 1, rounds=2))
    assert calls(tmp_path) == [1]
    (record,) = run(spec(tmp_path, 1, rounds=5))
    assert record.rounds == 5
    run(spec(tmp_path, 1, rounds=5, resume=False))
    assert calls(tmp_path) == [1, 1, 1]


def test_a_failed_method_is_recorded_and_its_size_tried_again(tmp_path: Path) -> None:
    (record,) = run(spec(tmp_path, 1), "one_fails")
    assert [outcome.kind for outcome in record.outcomes] == ["failed", "ok"]
    (again,) = run(spec(tmp_path, 1))
    assert again.complete
    assert calls(tmp_path) == [1, 1]


@pytest.mark.parametrize(
    ("fake", "timeout_s", "failure", "message"),
    [
        ("killed", 60.0, "crash", "killed by SIGKILL during 'warming up casa'"),
        ("hangs", 1.5, "timeout", "no result after 1.5 s"),
        ("raises", 60.0, "error", "KeyError at tests/timing/fakes.py:"),
    ],
)
def test_a_lost_size_is_every_methods_outcome_there(
    tmp_path: Path, fake: str, timeout_s: float, failure: str, message: str
) -> None:
    record = run(spec(tmp_path, 2, timeout_s=timeout_s), fake)[0]
    assert len(record.outcomes) == 2
    for outcome in record.outcomes:
        assert isinstance(outcome, Failed)
        assert outcome.failure == failure
        assert message in outcome.message
    assert record.frames_digest is None
    assert load_timings(tmp_path / "run")[0] == [record]


def test_a_crash_at_one_size_leaves_the_others(tmp_path: Path) -> None:
    records = run(spec(tmp_path, 1, 2, 4), "killed")
    assert [record.complete for record in records] == [True, False, True]


def test_times_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    (record,) = run(spec(tmp_path, 1), "not_finite")
    outcome = record.outcomes[0]
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("unusable times: ")


def test_the_observer_is_told(tmp_path: Path) -> None:
    class Listening(Observer):
        def __init__(self) -> None:
            self.heard: list[object] = []

        def begin(self, plan: object, kept: int) -> None:
            self.heard.append(kept)

        def stage(self, text: str) -> None:
            self.heard.append(text)

        def size_ended(self, record: TimingRecord) -> None:
            self.heard.append(record.key.frames)

    run(spec(tmp_path, 1))
    observer = Listening()
    run(spec(tmp_path, 1, 2), observer=observer)
    assert observer.heard == [1, "timing", 2]


def test_a_job_goes_to_its_process_and_back_unchanged(tmp_path: Path) -> None:
    (job,) = make_timing_plan(spec(tmp_path, 2)).jobs
    assert TimingJob.from_json(job.to_json()) == job
    assert job.key.task == SYNTHETIC
    assert [method.method for method in job.key.methods] == ["casa", "vanilla_ca"]


def test_a_method_without_weights_is_refused_before_anything_is_timed(tmp_path: Path) -> None:
    missing = MethodSpec.parse("casa:gists=3")
    with pytest.raises(UsageError, match="no trained weights for casa gists=3"):
        run(spec(tmp_path, 1, methods=(MethodSpec("casa"), missing), weights="trained"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds 0 is not usable"),
        ({"frames": (1, 2, 1)}, "frames 1,2,1 name a number twice"),
        ({"frames": ()}, "no frames is given"),
        ({"resolutions": ()}, "no resolution is given"),
        ({"threads": 0}, "threads 0 is not usable"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"limit": 0}, "limit 0 is not usable"),
    ],
)
def test_a_specification_that_cannot_be_used_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TimingSpec(**({"out": Path("run")} | changes))


@pytest.mark.parametrize("task", [None, TaskSpec("videoqa")])
def test_a_real_size_is_timed_with_two_copies_of_a_method(tmp_path: Path, task: TaskSpec | None) -> None:
    methods = tuple(map(MethodSpec, ("casa", "casa", "token_insertion")))
    given = spec(tmp_path, 2, methods=methods, task=task, resolutions=((32, 32),), rounds=2, limit=2)
    (job,) = make_timing_plan(given).jobs
    stages: list[str] = []
    result = time_size(job, stages.append)
    assert stages[:4] == ["frames", "warming up casa", "warming up casa #2", "warming up token_insertion"]
    assert result.encode is not None
    assert result.frames_digest is not None
    for outcome in result.outcomes:
        assert isinstance(outcome, Timed)
        assert set(outcome.phases) == set(PHASES)
        assert all(min(rounds.raw_ms) > 0 for rounds in outcome.phases.values())
    assert time_size(job, stages.append).frames_digest == result.frames_digest
