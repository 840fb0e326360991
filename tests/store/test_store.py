"""The store: what counts as a record, and that nothing half-written ever does."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import store as store_module
from harness.errors import InfrastructureError, UsageError
from harness.records import SCHEMA_VERSION, Ok, Record, Timing
from harness.store import Store, load_records, parse_record
from tests.execute import cells, fakes

DIGEST = cells.key().digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run").open()


def path_of(store: Store, digest: str = DIGEST) -> Path:
    return store.records_dir / f"{digest}.json"


def edited(store: Store, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path_of(store).read_text())
    change(document)
    path_of(store).write_text(json.dumps(document))


def test_what_is_written_is_read_back(store: Store) -> None:
    record = store.write(cells.record(), (fakes.sample(), fakes.sample("3")))
    assert record.model_copy(update={"samples_sha256": None}) == cells.record()
    assert store.read(DIGEST) == record
    assert [sample.prediction for sample in store.samples(DIGEST)] == ["7", "3"]
    assert load_records(store.root) == ([record], [])


@given(st.integers(0, len(cells.record().model_dump_json()) - 1))
def test_no_truncated_record_counts(length: int) -> None:
    text = cells.record().model_dump_json()
    assert parse_record(text) == cells.record()
    with pytest.raises(ValueError, match=r"."):
        parse_record(text[:length])


def test_a_truncated_file_is_listed_and_does_not_count(store: Store) -> None:
    store.write(cells.record(2), (fakes.sample(),))
    store.write(cells.record(), (fakes.sample(),))
    path_of(store).write_bytes(path_of(store).read_bytes()[:100])
    records, problems = load_records(store.root)
    assert store.read(DIGEST) is None
    assert [record.key.frames for record in records] == [2]
    assert [problem.path for problem in problems] == [path_of(store)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(schema_version=SCHEMA_VERSION + 1), "newer"),
        (lambda d: d.update(schema_version=None), "no schema version"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["outcome"]["measures"].update(extra=1), "extra"),
        (lambda d: d["key"].update(frames=3), "named after"),
        (lambda d: d.pop("environment"), "environment"),
    ],
)
def test_what_does_not_count_says_why(
    store: Store, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    store.write(cells.record(), (fakes.sample(),))
    edited(store, change)
    records, problems = load_records(store.root)
    assert records == []
    assert reason in problems[0].reason
    assert "\n" not in problems[0].reason


def test_a_document_that_is_no_object_does_not_count(store: Store) -> None:
    path_of(store).write_text("[1]")
    path_of(store, "other").write_bytes(b"\xff\xfe")
    records, problems = load_records(store.root)
    assert records == []
    assert len(problems) == 2


def test_a_deeply_nested_document_does_not_count(store: Store) -> None:
    path_of(store).write_text("[" * 100_000)
    assert store.read(DIGEST) is None
    assert "nested too deeply" in load_records(store.root)[1][0].reason


def test_a_newer_record_is_neither_taken_for_missing_nor_overwritten(store: Store) -> None:
    store.write(cells.record(), (fakes.sample(),))
    edited(store, lambda document: document.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(UsageError, match="was written by a newer harness"):
        store.read(DIGEST)


def test_an_older_version_is_lifted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def lift(document: dict[str, Any]) -> dict[str, Any]:
        document["duration_s"] = document.pop("seconds")
        return {**document, "schema_version": SCHEMA_VERSION}

    monkeypatch.setattr(store_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setitem(store_module.UPGRADES, SCHEMA_VERSION, lift)
    document = json.loads(cells.record(duration_s=9.0).model_dump_json())
    document["seconds"] = document.pop("duration_s")
    assert parse_record(json.dumps(document)).duration_s == 9.0


def test_leftover_temporary_files_never_count(store: Store) -> None:
    (store.records_dir / ".tmp-abc").write_text(cells.record().model_dump_json())
    assert load_records(store.root) == ([], [])


def test_a_measured_record_without_its_sidecar_is_not_read(store: Store) -> None:
    store.write(cells.record(), (fakes.sample(),))
    store.sidecar(DIGEST).unlink()
    assert store.read(DIGEST) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"{}", mtime=0)[:-3], gzip.compress(b"{}", mtime=0)],
    ids=["empty", "no gzip", "cut short", "no outcome"],
)
def test_a_broken_sidecar_is_a_value_error(store: Store, content: bytes) -> None:
    store.write(cells.record(), (fakes.sample(),))
    assert store.samples(DIGEST) == (fakes.sample(),)
    store.sidecar(DIGEST).write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        store.samples(DIGEST)


def test_a_kill_between_sidecar_and_record_leaves_no_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def killed_at_record(source: str, target: Path) -> None:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed_at_record)
    with pytest.raises(KeyboardInterrupt):
        store.write(cells.record(), (fakes.sample(),))
    assert store.read(DIGEST) is None


def test_a_sidecar_of_another_run_of_the_cell_is_found_out(store: Store) -> None:
    store.write(cells.record(), (fakes.sample("3"),))
    later = store.sidecar(DIGEST).read_bytes()
    store.write(cells.record(), (fakes.sample("7"),))
    assert store.read(DIGEST) is not None
    store.sidecar(DIGEST).write_bytes(later)
    assert store.read(DIGEST) is None
    with pytest.raises(ValueError, match="not written with the cell's record"):
        store.samples(DIGEST)


def test_a_record_that_is_removed_while_the_folder_is_read_is_no_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(cells.record(1), (fakes.sample(),))
    store.write(cells.record(2), (fakes.sample(),))
    load = store_module.load_record

    def removed_first(path: Path) -> Record:
        if path == path_of(store):
            store.remove(DIGEST)
        return load(path)

    monkeypatch.setattr(store_module, "load_record", removed_first)
    records, problems = load_records(store.root)
    assert ([record.key.frames for record in records], problems) == ([2], [])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store.write(cells.record(), (fakes.sample(),))

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfrastructureError, match="the disk is full; free some space"):
        store.write(cells.record(2), (fakes.sample(),))
    monkeypatch.undo()
    assert [record.key.frames for record in load_records(store.root)[0]] == [1]
    assert not [path for path in store.root.rglob(".tmp-*")]


def test_a_failed_write_keeps_the_earlier_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = store.write(cells.record(), (fakes.sample(),))

    def refuse(source: str, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InfrastructureError, match="no permission"):
        store.write(cells.record(duration_s=99.0), (fakes.sample(),))
    assert store.read(DIGEST) == earlier


def test_a_run_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    for out in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(InfrastructureError, match="a file; choose another folder with --out"):
            Store(out).open()


def test_a_folder_without_records_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="records"):
        load_records(tmp_path)


def test_measures_that_would_not_load_again_are_refused(store: Store) -> None:
    measures = fakes.measures()
    broken = measures.latency.model_copy(update={"prefill": Timing.model_construct(raw_ms=(float("inf"),))})
    record = cells.record(outcome=Ok(measures=measures.model_copy(update={"latency": broken})))
    with pytest.raises(ValueError, match="prefill"):
        store.write(record)
    assert load_records(store.root) == ([], [])


def test_a_failed_cell_takes_the_place_of_nothing_but_itself(store: Store) -> None:
    store.write(cells.record(1, cells.FAILED))
    store.write(cells.record(2, cells.SKIPPED))
    outcomes = {record.key.frames: record.outcome for record in load_records(store.root)[0]}
    assert outcomes == {1: cells.FAILED, 2: cells.SKIPPED}
