"""Records that earlier versions wrote load for ever."""

from __future__ import annotations

from pathlib import Path
from shutil import copy, copytree

import pandas as pd
import pytest

from harness.compare.run import compare_sides
from harness.compare.sides import find_sides
from harness.counting import store as counted_store
from harness.counting.records import COUNT_SCHEMA
from harness.counting.store import load_counted
from harness.records import SCHEMA_VERSION, Failed, Measures, Ok, Record
from harness.report.build import build_report
from harness.report.command import reproduce
from harness.report.frame import records_to_frame
from harness.store import UPGRADES, Store, load_records

CORPUS = Path(__file__).parent / "corpus"
RUNS = sorted(CORPUS.glob("v*"))
COUNTED = sorted(CORPUS.glob("counted_v*"))
LATER = CORPUS / "later_v2"
"""Written when schema 2 had fields that v2 was written without; all of them have a default."""


def test_every_version_has_its_corpus_and_every_older_one_its_upgrade() -> None:
    versions = range(1, SCHEMA_VERSION + 1)
    assert [run.name for run in RUNS] == [f"v{version}" for version in versions]
    assert set(UPGRADES) == set(versions) - {SCHEMA_VERSION}
    counts = range(1, COUNT_SCHEMA + 1)
    assert [run.name for run in COUNTED] == [f"counted_v{version}" for version in counts]
    assert set(counted_store.UPGRADES) == set(counts) - {COUNT_SCHEMA}


def whole(run: Path) -> list[Record]:
    records, problems = load_records(run)
    assert problems == []
    assert len(records) == len(list((run / "records").iterdir()))
    return records


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_old_records_load_with_every_outcome_and_their_answers(run: Path) -> None:
    records, store = whole(run), Store(run)
    written = f'"schema_version": {run.name.removeprefix("v")},'
    assert all(written in path.read_text() for path in (run / "records").iterdir())
    kinds = {
        (record.outcome.kind, record.key.weights == "random")
        for record in records
        if not isinstance(record.outcome, Failed)
    }
    assert kinds == {("ok", False), ("ok", True), ("skipped", False)}
    assert [record.outcome.failure for record in records if isinstance(record.outcome, Failed)] == [
        "out_of_memory"
    ]
    for record in records:
        assert store.read(record.key.digest) == record
        if isinstance(record.outcome, Ok):
            accuracy = record.outcome.measures.accuracy
            assert accuracy is not None
            assert len(store.samples(record.key.digest)) == accuracy.scored + accuracy.unparsed
    assert set(store.samples_dir.iterdir()) == {
        store.sidecar(record.key.digest) for record in records if isinstance(record.outcome, Ok)
    }
    assert len(records_to_frame(records)) == len(records)
    assert all(command.startswith("harness eval --task videoqa") for command in reproduce(records))


def test_what_schema_1_did_not_tell_is_none() -> None:
    assert {(record.inputs, record.samples_sha256) for record in whole(CORPUS / "v1")} == {(None, None)}


def test_cells_are_named_as_in_schema_1() -> None:
    """Otherwise an earlier run would be measured again from the start."""
    digests = [{path.stem for path in (run / "records").iterdir()} for run in RUNS]
    assert all(names == digests[0] for names in digests)


def answered(run: Path) -> list[tuple[Record, Measures]]:
    return [(one, one.outcome.measures) for one in whole(run) if isinstance(one.outcome, Ok)]


def test_what_schema_2_did_not_tell_at_first_has_a_default() -> None:
    texts = "".join(path.read_text() for path in (CORPUS / "v2" / "records").iterdir())
    assert not any(f'"{name}"' in texts for name in ("aggregates", "trust_remote_code", "task_places"))
    for record, measures in answered(CORPUS / "v2"):
        assert measures.aggregates == {}
        assert record.inputs is not None
        assert (record.inputs.trust_remote_code, record.inputs.task_places) == (False, {})
        samples = Store(CORPUS / "v2").samples(record.key.digest)
        assert {(one.reason, one.frames_digest) for one in samples} == {(None, None)}


def test_what_was_added_to_schema_2_is_read_back() -> None:
    ((record, measures),) = answered(LATER)
    store = Store(LATER)
    assert store.read(record.key.digest) == record
    assert measures.aggregates == {"exact_match": 0.0, "submission": None}
    assert record.inputs is not None
    assert record.inputs.trust_remote_code
    assert record.inputs.task_places == {"data": "DATA/nextqa_mc_test"}
    samples = {one.status: one for one in store.samples(record.key.digest)}
    assert list(samples) == ["scored", "unparsed", "error", "out_of_memory"]
    assert samples["unparsed"].reason == "2 of 4 images were left out"
    assert samples["error"].frames_digest is None
    assert samples["scored"].frames_digest is not None
    (row,) = records_to_frame([record]).to_dict("records")
    assert (row["errors"], row["aggregates"]) == (2, '{"exact_match":0.0,"submission":null}')
    (command,) = reproduce([record])
    assert "+data=DATA/nextqa_mc_test --methods published " in command
    assert command.endswith("--trust-remote-code")


@pytest.mark.parametrize("run", COUNTED, ids=lambda run: run.name)
def test_old_counted_records_load(run: Path) -> None:
    records, problems = load_counted(run)
    assert problems == []
    assert {path.stem for path in (run / "counted").iterdir()} == {record.key.digest for record in records}
    assert {record.outcome.kind for record in records} == {"ok", "failed"}


@pytest.mark.parametrize("run", RUNS[:-1], ids=lambda run: run.name)
def test_a_run_of_an_older_version_compares_with_one_of_the_newest(run: Path) -> None:
    pairs, _ = find_sides(str(run), str(RUNS[-1]), None)
    answered = [result for result in compare_sides(pairs) if any(place.overall for place in result.places)]
    assert [result.first.label for result in answered] == ["token_insertion"]
    (overall,) = (place.overall for place in answered[0].places)
    assert overall is not None
    assert overall.equal


def test_one_folder_of_several_versions_is_one_run(tmp_path: Path) -> None:
    for version in ("v1", "later_v2"):
        copytree(CORPUS / version, tmp_path, dirs_exist_ok=True)
    newest = next(path for path in (CORPUS / "v3" / "records").iterdir() if path.stem.startswith("ca19"))
    copy(newest, tmp_path / "records")
    build_report(tmp_path, tmp_path / "report")
    cells = pd.read_csv(tmp_path / "report" / "cells.csv")
    kept = set(cells["digest"])
    (superseded,) = {path.stem for path in (tmp_path / "records").iterdir()} - kept
    assert len(kept) == 4
    assert superseded.startswith("013f")
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"{superseded}.json" in text
    assert "random weights; the same cell was measured with trained ones" in text
