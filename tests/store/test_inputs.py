"""What a record tells of plugins and folders, and the command that it gives back."""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
from pathlib import Path

import pytest

from harness.inputs import given, inputs_of
from harness.plan import CellJob
from harness.records import Inputs, PluginFile
from harness.report.command import reproduce
from harness.spec import EvalSpec, TaskSpec
from harness.store import Store
from harness.worker import Started, run_job
from tests.execute import cells, fakes

GOOD = f"{fakes.__name__}:good"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "mine.py").write_text("x = 1\n")
    monkeypatch.chdir(folder)
    return folder


def spec(**changes: object) -> EvalSpec:
    return EvalSpec(tasks=(TaskSpec("counting"),), **changes)  # type: ignore[arg-type]


def test_paths_are_as_given_but_for_what_only_this_machine_has(here: Path) -> None:
    assert given(Path("plugins/mine.py")) == "plugins/mine.py"
    assert given(Path("../mine.py")) == "../mine.py"
    assert given(here / "plugins" / "mine.py") == "plugins/mine.py"
    assert given(here.parent / "mine.py") == str(here.parent / "mine.py")
    os.symlink(here, here.parent / "link")
    assert given(here.parent / "link" / "plugins" / "mine.py") == "plugins/mine.py"


def test_a_specification_tells_its_inputs(here: Path) -> None:
    made = spec(
        plugins=(here / "plugins/mine.py",),
        models=(here / "models",),
        timeout_s=5.0,
    )
    content = hashlib.sha256(b"x = 1\n").hexdigest()[:16]
    assert inputs_of(made, str(here / "b")) == Inputs(
        plugins=(PluginFile(path="plugins/mine.py", sha256=content),),
        models=("models",),
        backbone="./b",
        timeout_s=5.0,
    )
    assert inputs_of(spec(), None).backbone is None


def job(here: Path) -> CellJob:
    plugin = here / "plugins" / "mine.py"
    return CellJob(
        key=cells.key(),
        weights_path=None,
        cache_dir=here,
        plugins=(plugin,),
        threads=1,
        inputs=inputs_of(spec(plugins=(plugin,)), None),
    )


def test_a_record_holds_the_hash_of_the_plugin_that_its_cell_imported(here: Path) -> None:
    made = job(here)
    assert CellJob.from_json(made.to_json()) == made
    (here / "plugins" / "mine.py").write_text("x = 2\n")
    record = run_job(made, Store(here / "run").open(), GOOD, lambda text: None, cells.ENVIRONMENT)
    assert record.inputs is not None
    assert [plugin.sha256 for plugin in record.inputs.plugins] == [
        hashlib.sha256(b"x = 2\n").hexdigest()[:16]
    ]
    (here / "plugins" / "mine.py").unlink()
    gone = Started(made).record(cells.ENVIRONMENT, cells.FAILED)
    assert gone.inputs is not None
    assert gone.inputs.plugins == (PluginFile(path="plugins/mine.py", sha256=None),)


def test_a_cell_file_without_inputs_is_measured_and_tells_none(here: Path) -> None:
    record = run_job(cells.job(here), Store(here).open(), GOOD, lambda text: None, cells.ENVIRONMENT)
    assert record.inputs is None


def test_the_command_names_plugins_models_and_folders() -> None:
    inputs = Inputs(
        plugins=(PluginFile(path="a b.py", sha256=None), PluginFile(path="c.py", sha256="0" * 16)),
        models=("models",),
        backbone="./qwen",
        timeout_s=30.0,
    )
    record = cells.record().model_copy(update={"inputs": inputs})
    (command,) = reproduce([record])
    words = shlex.split(command)
    pairs = list(itertools.pairwise(words))
    assert [value for name, value in pairs if name == "--plugin"] == ["a b.py", "c.py"]
    assert {("--models", "models"), ("--backbone", "./qwen"), ("--timeout", "30")} < set(pairs)
    plain = inputs.model_copy(update={"timeout_s": EvalSpec.timeout_s, "backbone": None, "plugins": ()})
    several = reproduce([record, cells.record(2), cells.record(4).model_copy(update={"inputs": plain})])
    assert len(several) == 3
    assert "--plugin" not in several[1] + several[2]
    assert "--models" not in several[1]
    assert "--timeout" not in several[2]
