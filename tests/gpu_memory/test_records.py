"""Records of cells: read back as written, refused where broken, measured again only where they must be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.groups import groups, launcher, run_group
from benchmarks.gpu.records import (
    Failed,
    GpuRecord,
    Outcome,
    OutOfMemory,
    load_records,
    path_of,
    read_record,
    stands,
    write_record,
)
from harness.counting.records import CountKey
from harness.errors import InfrastructureError

from ..counting.keys import key
from .fakes import CARD, ENVIRONMENT, record_of

FULL = OutOfMemory(phase="token", counted_peak_bytes=2**30, message="out of memory")
KEYS = tuple(key("decode", frames=frames) for frames in (1, 2, 4))


def put(folder: Path, asked: CountKey, outcome: Outcome = FULL) -> GpuRecord:
    record = record_of(asked, outcome)
    write_record(folder, record)
    return record


def test_a_record_is_read_back_as_written(tmp_path: Path) -> None:
    record = put(tmp_path, KEYS[0])
    assert read_record(path_of(tmp_path, KEYS[0])) == record
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEYS[0].digest}.json"]


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"more": 1}, {"card": None}])
def test_a_record_of_another_schema_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    put(tmp_path, KEYS[0])
    path = path_of(tmp_path, KEYS[0])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=next(iter(change))):
        read_record(path)
    records, problems = load_records(tmp_path, KEYS[:2])
    assert not records
    assert [problem.path for problem in problems] == [path, path_of(tmp_path, KEYS[1])]
    assert problems[1].reason == "it is missing"


def test_only_a_whole_record_of_this_card_and_torch_stands(tmp_path: Path) -> None:
    asked = KEYS[0]
    path = path_of(tmp_path, asked)
    assert not stands(path, asked, ENVIRONMENT, CARD)
    put(tmp_path, asked)
    assert stands(path, asked, ENVIRONMENT, CARD)
    assert not stands(path, KEYS[1], ENVIRONMENT, CARD)
    assert not stands(path, asked, ENVIRONMENT.model_copy(update={"torch": "1.0"}), CARD)
    assert not stands(path, asked, ENVIRONMENT, CARD.model_copy(update={"name": "Other"}))
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert not stands(path, asked, ENVIRONMENT, CARD)
    put(tmp_path, asked, Failed(message="it died"))
    assert not stands(path, asked, ENVIRONMENT, CARD)


class Worker:
    """Writes records in order and dies on one cell."""

    def __init__(self, folder: Path, dies_on: CountKey | None = None) -> None:
        self.folder, self.dies_on = folder, dies_on
        self.launched: list[list[CountKey]] = []

    def __call__(self, keys: Sequence[CountKey]) -> str:
        self.launched.append(list(keys))
        for asked in keys:
            if asked == self.dies_on:
                return "was ended by signal 11"
            put(self.folder, asked)
        return "ended with 0"


def measure(worker: Worker, *, again: bool = False) -> list[str]:
    heard: list[str] = []
    run_group(KEYS, worker.folder, worker, ENVIRONMENT, CARD, warmups=1, again=again, progress=heard.append)
    return heard


def test_a_crash_costs_one_cell(tmp_path: Path) -> None:
    worker = Worker(tmp_path, dies_on=KEYS[1])
    measure(worker)
    assert worker.launched == [list(KEYS), [KEYS[2]]]
    first, crashed, last = (read_record(path_of(tmp_path, asked)).outcome for asked in KEYS)
    assert (first, last) == (FULL, FULL)
    assert crashed == Failed(message="the process that measured it was ended by signal 11")


def test_a_second_run_measures_what_failed_or_is_missing(tmp_path: Path) -> None:
    put(tmp_path, KEYS[0], Failed(message="it died"))
    put(tmp_path, KEYS[1])
    worker = Worker(tmp_path)
    assert measure(worker) == ["token_insertion on tiny-qwen3: 2 of 3 cells to measure"]
    assert worker.launched == [[KEYS[0], KEYS[2]]]
    assert not measure(worker)
    assert len(worker.launched) == 1
    measure(worker, again=True)
    assert worker.launched[1] == list(KEYS)


def test_one_model_serves_a_group() -> None:
    other = key("decode", "casa")
    assert list(groups([*KEYS, other])) == [list(KEYS), [other]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the worker would find its device")
def test_a_worker_without_a_device_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InfrastructureError, match="could not go on"):
        launcher(tmp_path, 1, (), 300)(KEYS)
    assert capfd.readouterr().err.startswith("gpu_memory: no CUDA device")
    assert not list(tmp_path.iterdir())
