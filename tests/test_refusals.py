"""What a task or an encoder refuses is known before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.plan import make_plan
from harness.spec import EvalSpec, MethodSpec, TaskSpec
from harness.task import View
from harness.tasks.multi_image import MultiImage
from harness.timing.plan import make_timing_plan
from harness.timing.spec import TimingSpec


def spec(tmp_path: Path, tasks: tuple[str, ...], **settings: Any) -> EvalSpec:
    return EvalSpec(
        tasks=tuple(map(TaskSpec.parse, tasks)),
        methods=(MethodSpec("casa"), MethodSpec("vanilla_ca")),
        out=tmp_path / "run",
        **settings,
    )


@pytest.mark.parametrize(
    ("tasks", "settings", "message"),
    [
        (("videoqa",), {"frames": (999,)}, "999 frames are asked of a clip that has 64"),
        (("videoqa",), {"frames": (1, 999)}, "999 frames are asked of a clip that has 64"),
        (("videoqa",), {"resolutions": ((64, 64), (17, 32))}, "17x32 .* does not fit the patch encoder"),
        (("videoqa", "folder:path=nowhere"), {}, "path='nowhere' is not a folder"),
    ],
)
def test_a_value_of_which_nothing_is_left_ends_the_command(
    tmp_path: Path, tasks: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(spec(tmp_path, tasks, **settings))
    assert not (tmp_path / "run").exists()


def test_a_combination_that_is_refused_is_skipped_with_the_reason(tmp_path: Path) -> None:
    plan = make_plan(spec(tmp_path, ("videoqa", "multi_image"), frames=(4, 64)))
    skipped = {(cell.key.task, cell.key.frames): cell.skip for cell in plan.cells if cell.skip}
    assert skipped == {("multi_image", 64): "64 images are asked of multi_image; ask for 1 to 16"}
    assert len(plan.cells) == 8


def test_a_view_is_asked_about_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[View] = []
    monkeypatch.setattr(MultiImage, "check_view", lambda self, view: asked.append(view))
    plan = make_plan(spec(tmp_path, ("multi_image",), frames=(2, 4), weights="random", seeds=(0, 1)))
    assert len(plan.cells) == 8
    assert [view.frames for view in asked] == [2, 4]


def test_errors_of_a_tasks_own_are_left_to_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: MultiImage, view: View) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MultiImage, "check_view", broken)
    plan = make_plan(spec(tmp_path, ("multi_image",), frames=(4,)))
    assert [cell.skip for cell in plan.cells] == [None, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": TaskSpec("multi_image"), "frames": (4, 64)}, "64 images are asked"),
        ({"task": TaskSpec("videoqa"), "frames": (65,)}, "65 frames are asked of a clip that has 64"),
        ({"task": None, "resolutions": ((17, 17),), "weights": "random"}, "does not fit the patch encoder"),
    ],
)
def test_a_comparison_in_turns_has_every_size(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    methods = (MethodSpec("casa"), MethodSpec("vanilla_ca"))
    with pytest.raises(UsageError, match=message):
        make_timing_plan(TimingSpec(methods=methods, out=tmp_path, **settings))
