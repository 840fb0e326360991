"""``harness time``: the table, JSON, records on disk, and what ends it otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.timing import run
from harness.timing.records import TimingRecord
from harness.timing.store import load_timings
from tests.timing import made

SMALL = ("--synthetic", "--weights", "random", "--frames", "1,2", "--resolution", "32", "--rounds", "2")


def timed(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["time", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two copies and another method."""
    out = tmp_path_factory.mktemp("time") / "new" / "run"
    done = timed(*SMALL, "--methods", "vanilla_ca,vanilla_ca,token_insertion", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0] == "2 sizes: 2 to time, 0 timed already"
    assert "[2/2] 2 frame(s) 32x32: 3 of 3 methods timed in 2 rounds" in done.stderr
    rows = [line for line in done.stdout.splitlines() if "32x32" in line]
    assert [row.split("|")[1].strip() for row in rows] == [
        "vanilla_ca",
        "vanilla_ca #2",
        "token_insertion",
    ] * 2
    return out


def test_running_again_times_nothing_and_tells_the_same_as_json(folder: Path) -> None:
    done = timed(*SMALL, "--methods", "vanilla_ca,vanilla_ca,token_insertion", "--out", folder, "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0] == "2 sizes: 0 to time, 2 timed already"
    document: dict[str, Any] = json.loads(done.stdout)
    records, problems = load_timings(folder)
    assert problems == []
    digests = [one.pop("digest") for one in document["records"]]
    assert digests == [record.key.digest for record in records]
    assert document["records"] == [record.model_dump(mode="json") for record in records]
    assert len(document["ratios"]) == 2 * 3 * 3
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in document["ratios"])


def shown(monkeypatch: pytest.MonkeyPatch, records: list[TimingRecord], *arguments: object) -> Result:
    """The command with a run that ends in these records."""
    monkeypatch.setattr(run, "run_timing", lambda *_: records)
    return timed("--out", "nowhere", *arguments)


def test_medians_quartiles_ratios_failures_and_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        made.record({"one": [2.0] * 7, "two": [4.0] * 7, "bad": made.FAILED}, 1),
        made.record({"one": [2.0] * 7, "two": [1.0] * 7, "bad": made.FAILED}, 2),
    ]
    done = shown(monkeypatch, records)
    assert done.exit_code == 0
    row = next(line for line in done.stdout.splitlines() if line.startswith("| two"))
    assert "4.00 [4.00, 4.00]" in row
    assert "2.00 [2.00, 2.00]" in row
    assert done.stdout.count("failed: out_of_memory") == 2
    assert "one prefills faster than two at 1 frame, two at 2." in done.stdout
    assert done.stderr == "failed at 2 size(s): bad: out_of_memory: planted\n"


def test_a_single_round_has_a_ratio_and_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [made.record({"one": [2.0], "two": [3.0]}, rounds=1)]
    assert " 1.50 |" in shown(monkeypatch, records).stdout
    document = json.loads(shown(monkeypatch, records, "--json").stdout)
    assert {(row["low"], row["high"]) for row in document["ratios"]} == {(None, None)}


def test_a_crowded_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records' machine has one processor."""
    quiet = made.record({"one": [2.0] * 7, "two": [4.0] * 7})
    busy = quiet.model_copy(update={"load_after": (3.0, 0.0, 0.0)})
    assert shown(monkeypatch, [quiet]).stderr == ""
    assert "load was up to 3.0 on 1 processors at 1 size(s)" in shown(monkeypatch, [quiet, busy]).stderr


def test_nothing_timed_has_status_3(monkeypatch: pytest.MonkeyPatch) -> None:
    done = shown(monkeypatch, [made.record({"one": made.FAILED, "two": made.FAILED})])
    assert done.exit_code == 3
    assert "error: no method was timed at any of 1 size(s)" in done.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (("--frames", "1,1"), "frames 1,1 name a number twice"),
    (("--rounds", "0"), "rounds 0 is not usable"),
    (("--methods", "cassa"), "unknown method 'cassa': did you mean 'casa'"),
    (("--methods", "casa:gists=3"), "no trained weights for casa gists=3"),
    (("--synthetic", "--task", "videoqa"), "--synthetic takes no task"),
    (("--task", "videoqa,multi_image"), "2 tasks are given"),
    (("--task", "videqa"), "unknown task 'videqa': did you mean 'videoqa'"),
    (("--limit", "-1"), "limit -1 is not usable"),
    (("--device", "tpu"), "unknown device 'tpu'"),
])  # fmt: skip
def test_what_cannot_be_used_has_status_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = timed(*arguments, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
