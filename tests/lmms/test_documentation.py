"""The commands of docs/lmms_eval.md run as they stand; the versions that several files name are one."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.lmms.catalogue import PINNED, task_folder
from harness.store import Store, load_records
from tests.measured import memory_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "lmms_eval.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]
SEVERAL = [line for line in COMMANDS if "RUN" in line]
"""Those over several models, which make a run and look at it; ``test_several`` runs them."""
OF_ONE = [line for line in COMMANDS if line.startswith("harness") and line not in SEVERAL]
(YAML,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


def run(command: str, where: Mapping[str, Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the guide with its capital words replaced, with the programs of this environment."""
    for word, path in where.items():
        command = re.sub(rf"\b{word}\b", str(path), command)
    program, *arguments = shlex.split(command)
    modules = {"harness": ["-c", "from harness.cli import main; main()"], "lmms-eval": ["-m", "lmms_eval"]}
    return subprocess.run(
        [sys.executable, *modules[program], *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.lmms
@pytest.mark.slow
@pytest.mark.parametrize("command", OF_ONE)
def test_their_tasks_in_the_harness(command: str, data: Mapping[str, Path], tmp_path: Path) -> None:
    done = run(command, {"DATA": data["chartqa"].parent}, tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    (record,), problems = load_records(folder)
    assert not problems
    assert record.outcome.kind == "ok"
    measures = record.outcome.measures
    assert measures.accuracy is not None
    assert measures.accuracy.scored + measures.accuracy.unparsed == 2
    assert measures.aggregates
    assert memory_of(measures).peak_bytes > 0
    assert record.key.task.startswith("lmms:")
    assert not any("data" in name or "/" in str(value) for name, value in record.key.task_config.items())
    assert len(Store(folder).samples(record.key.digest)) == 2
    assert not list(folder.glob("samples/*.journal.jsonl"))


@pytest.mark.lmms
@pytest.mark.slow
def test_our_models_in_lmms_eval(data: Mapping[str, Path], tmp_path: Path) -> None:
    (command,) = (line for line in COMMANDS if line.startswith("lmms-eval"))
    (tmp_path / "tasks").mkdir()
    document = YAML.replace("SITE/lmms_eval/tasks", str(task_folder()))
    document = document.replace("DATA", str(data["chartqa"].parent))
    (tmp_path / "tasks" / "local_chartqa.yaml").write_text(document)
    where = {"DATA": data["chartqa"].parent, "TASKS": tmp_path / "tasks", "OUT": tmp_path / "out"}
    done = run(command, where, tmp_path)
    (path,) = (tmp_path / "out").rglob("*_results.json")
    results = json.loads(path.read_text())
    assert "relaxed_overall,none" in results["results"]["local_chartqa"], done.stderr[-2000:]
    assert "avg_peak_memory_bytes" in done.stdout


def test_every_command_is_run_by_one_of_these_tests() -> None:
    programs = [line.split()[0] for line in COMMANDS]
    assert programs.count("lmms-eval") == 1
    assert len(SEVERAL) == 2
    assert len(OF_ONE) + len(SEVERAL) == programs.count("harness") == len(COMMANDS) - 1


@pytest.mark.parametrize("file", ["Makefile", "docs/lmms_eval.md"])
def test_one_version_is_named_everywhere(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert set(re.findall(r"lmms-eval==([\d.]+)", text)) == {PINNED}
