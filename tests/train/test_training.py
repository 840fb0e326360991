"""Training: the same data for every method, exact resumption, saved models that load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness import registry
from harness.errors import InfrastructureError, UsageError
from harness.models import WEIGHTS, find_weights, load_model, weights_digest
from harness.spec import TrainSpec
from harness.task import Task, View
from harness.train.recipe import Recipe
from harness.train.run import CHECKPOINT, train

BACKBONE = "tiny-qwen3"
RECIPE = Recipe(
    batch=4, frames=(1, 2), frame_weights=(0.5, 0.5), sizes=(16, 32), size_weights=(0.5, 0.5), warmup=2
)
PLUGIN = Path(__file__).with_name("colour_task.py")


@pytest.fixture(autouse=True)
def _colour_task() -> None:
    assert registry.discover([PLUGIN]) == []


def spec(out: Path, **changes: object) -> TrainSpec:
    values: dict[str, object] = {
        "method": "casa",
        "method_config": {"gists": 1},
        "backbone": BACKBONE,
        "tasks": ("colour",),
        "steps": 6,
        "checkpoint_every": 2,
        "out": out,
    }
    return TrainSpec(**{**values, **changes})  # type: ignore[arg-type]


class KilledError(Exception):
    """Stands for a kill between two checkpoints."""


def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = train(spec(tmp_path / "whole"), lambda line: None, RECIPE)

    def kill_after_step_four(line: str) -> None:
        if "step 4/6" in line:
            raise KilledError

    with pytest.raises(KilledError):
        train(spec(tmp_path / "parts"), kill_after_step_four, RECIPE)
    lines: list[str] = []
    resumed = train(spec(tmp_path / "parts"), lines.append, RECIPE)
    assert any("going on from step 4" in line for line in lines)
    assert (resumed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_training_changes_every_weight_and_the_folder_loads(tmp_path: Path) -> None:
    folder = train(spec(tmp_path), lambda line: None, RECIPE)
    trained = load_file(folder / WEIGHTS)
    assert all(tensor.dtype == torch.float16 for tensor in trained.values())
    model = load_model(folder)
    assert model.text_of(model.token_ids("yellow blue").tolist()) == "yellow blue"
    assert model.trained_on is not None
    assert model.trained_on.max_frames == 2
    assert find_weights("casa", {"gists": 1}, BACKBONE, 0, [tmp_path]) == folder
    assert find_weights("casa", {"gists": 1}, BACKBONE, 1, [tmp_path]) is None
    assert len(weights_digest(folder)) == 16
    card = (folder / "README.md").read_text()
    assert f"harness train --method casa:gists=1 --task colour --plugin {PLUGIN} --steps 6 --seed 0" in card


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(spec(tmp_path, steps=2), lambda line: None, RECIPE)
    with pytest.raises(UsageError, match="belongs to another run"):
        train(spec(tmp_path, steps=4), lambda line: None, RECIPE)
    train(spec(tmp_path, steps=4, resume=False), lambda line: None, RECIPE)


def test_a_corrupt_checkpoint_is_named(tmp_path: Path) -> None:
    folder = train(spec(tmp_path, steps=2), lambda line: None, RECIPE)
    (folder / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError, match=r"checkpoint\.pt cannot be read"):
        train(spec(tmp_path, steps=2), lambda line: None, RECIPE)
    for other in ([1], {"step": 1}):
        torch.save(other, folder / CHECKPOINT)
        with pytest.raises(UsageError, match=r"checkpoint\.pt cannot be read"):
            train(spec(tmp_path, steps=2), lambda line: None, RECIPE)


def test_a_folder_that_cannot_be_written_costs_no_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard: list[str] = []
    with pytest.raises(InfrastructureError, match="choose another folder with --out"):
        train(spec(tmp_path / "file"), heard.append, RECIPE)
    assert heard == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"heights": []}, "names the heights"),
        ({"intermediate_size": -8}, "intermediate_size Input should be greater than 0"),
        ({"more": 1}, "more Extra inputs"),
    ],
)
def test_a_broken_model_is_not_quietly_replaced_by_a_shipped_one(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    shipped = find_weights("casa", {}, BACKBONE, 0)
    assert shipped is not None
    shutil.copytree(shipped, tmp_path / "mine")
    assert find_weights("casa", {}, BACKBONE, 0, [tmp_path]) == tmp_path / "mine"
    config = tmp_path / "mine" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(UsageError, match=reason):
        find_weights("casa", {}, BACKBONE, 0, [tmp_path])


def test_corrupt_weights_are_named(tmp_path: Path) -> None:
    folder = train(spec(tmp_path, steps=2), lambda line: None, RECIPE)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(UsageError, match="are corrupt"):
        load_model(folder)


def at_most_four(self: Task, view: View) -> None:
    if view.frames > 4:
        raise UsageError(f"a clip has 4 frames, not {view.frames}")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"check_view": at_most_four},
            r"training shows 8 frame\(s\) of 64x64 pixels, which task 'second' refuses: a clip has 4 frames",
        ),
        ({"training_samples": Task.training_samples}, "has no training split"),
        ({"training_samples": lambda *given: []}, "task 'second' drew no training sample"),
    ],
)
def test_a_task_that_cannot_be_trained_on_costs_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], says: str
) -> None:
    real = registry.tasks.get
    second = type("Second", (real("colour"),), changes)
    monkeypatch.setattr(registry.tasks, "get", lambda name: second if name == "second" else real(name))
    with pytest.raises(UsageError, match=says):
        train(spec(tmp_path, tasks=("colour", "second")), recipe=RECIPE)
    assert list(tmp_path.iterdir()) == []


def test_the_view_of_a_step_depends_on_seed_and_step_only() -> None:
    recipe = Recipe()
    first = [recipe.draw(3, step, 100, 2)[:2] for step in range(50)]
    again = [recipe.draw(3, step, 100, 2)[:2] for step in reversed(range(50))][::-1]
    other = [recipe.draw(4, step, 100, 2)[:2] for step in range(50)]
    assert first == again
    assert first != other


def test_the_ramp_reaches_every_frame_count_and_starts_short() -> None:
    recipe = Recipe()
    early = {recipe.draw(0, step, 1000, 1)[1].frames for step in range(20)}
    late = {recipe.draw(0, step, 1000, 1)[1].frames for step in range(500, 1000)}
    assert max(early) <= 3
    assert late == set(recipe.frames)


def test_methods_train_on_the_same_frames() -> None:
    task = registry.tasks.get("colour")()
    view = View(frames=2, height=16, width=16)
    draws = [task.training_samples(view, np.random.default_rng([0, 5]), 3) for _ in range(2)]
    digests = [[frame.digest for s in draw for frame in s.stream.frames] for draw in draws]
    assert digests[0] == digests[1]
