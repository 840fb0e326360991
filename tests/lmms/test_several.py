"""The guide's one command for several tasks, the shipped models and published checkpoints, and its report."""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.store import Store, load_records
from tests.lmms.test_documentation import SEVERAL, run
from tests.published_models.checkpoints import write_published

TASKS = ("lmms:chartqa", "lmms:mvbench_action_antonym", "lmms:nextqa_mc_test", "videoqa")
FRAMES = (1, 2, 4)


@pytest.fixture
def folder(data: Mapping[str, Path], tmp_path: Path) -> Path:
    """A user's folder: data in a folder per task, and two checkpoints of different classes."""
    (tmp_path / "data").mkdir()
    for task in TASKS[:3]:
        name = task.removeprefix("lmms:")
        (tmp_path / "data" / name).symlink_to(data[name])
    for kind in ("smolvlm", "qwen2_5_vl"):
        write_published(kind, tmp_path / "checkpoints" / kind)
    return tmp_path


@pytest.mark.lmms
@pytest.mark.slow
def test_models_and_tasks_are_one_command_and_one_table(folder: Path) -> None:
    evaluate, compare = SEVERAL
    where = {"DATA": folder / "data", "CHECKPOINTS": folder / "checkpoints", "RUN": folder / "run"}
    done = run(evaluate, where, folder)
    assert done.returncode == 0, done.stderr
    records, problems = load_records(folder / "run")
    assert not problems
    assert {record.outcome.kind for record in records} == {"ok"}
    models = dict.fromkeys(("token_insertion", "casa"), "tiny-qwen3")
    models |= {kind: kind for kind in ("smolvlm", "qwen2_5_vl")}
    places = Counter((record.key.task, record.key.frames) for record in records)
    assert places == {(task, frames): len(models) for task in TASKS for frames in FRAMES}
    assert all(len(Store(folder / "run").samples(record.key.digest)) >= 2 for record in records)
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert re.match(r"left out: token_insertion, casa on smolvlm@\w+, qwen2_5_vl@\w+ ", said)

    tables = folder / "run" / "report" / "tables"
    with (tables / "models.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"]: row["backbone"].partition("@")[0] for row in rows} == models
    assert set(TASKS) < set(rows[0])
    assert all(re.match(r"[01]\.\d\d \[.*\], n \d+", row[task]) for row in rows for task in TASKS)
    assert all(float(row["peak MiB"].split()[0]) > 0 for row in rows)
    with (tables / "models_everywhere.csv").open(encoding="utf-8") as file:
        sizes = Counter((row["model"], int(row["frames"])) for row in csv.DictReader(file))
    assert sizes == {(model, frames): 1 for model in models for frames in FRAMES}

    report = (folder / "run" / "report" / "report.md").read_text(encoding="utf-8")
    again = re.findall(r"^harness eval .*$", report.rpartition("### To measure it again")[2], re.MULTILINE)
    assert len(again) == 1
    planned = run(f"{again[0]} --plan-only --out again", {}, folder)
    digests = [Path(shlex.split(line)[-3]).stem for line in planned.stdout.splitlines()]
    assert sorted(digests) == sorted(record.key.digest for record in records)

    compared = run(compare, where, folder)
    assert compared.returncode == 0, compared.stderr
    assert "differ in more than the fusion" in compared.stdout
