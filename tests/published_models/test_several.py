"""Several backbones in one run: each method where it belongs, and one line about the rest."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import registry
from harness.cli import app
from harness.errors import UsageError
from harness.models import build_model, new_config, save_model
from harness.plan import CellJob, Plan, make_plan
from harness.records import Record, Skipped
from harness.report.command import reproduce
from harness.spec import EvalSpec, MethodSpec, TaskSpec
from harness.worker import Started
from tests.execute.cells import ENVIRONMENT
from tests.measure.pictures import NAME, Pictures

Folder = Callable[[str], Path]
Make = Callable[..., EvalSpec]


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    registry.discover()
    known = registry.tasks.names()
    registry.tasks.add(NAME, Pictures, __name__)
    yield
    registry.tasks.keep(known)


@pytest.fixture
def spec(checkpoint: Folder, tmp_path: Path) -> Make:
    def make(methods: str = "", *, backbones: tuple[str, ...] | None = None, **changes: object) -> EvalSpec:
        folders = tuple(str(checkpoint(kind)) for kind in ("smolvlm", "qwen2_5_vl"))
        values: dict[str, object] = {
            "tasks": (TaskSpec.parse(f"{NAME}:clips=2"),),
            "methods": MethodSpec.parse_list([methods]),
            "frames": (1, 2),
            "resolutions": ((112, 112),),
            "backbones": ("tiny-qwen3", *folders) if backbones is None else backbones,
            "out": tmp_path / "run",
            "cache_dir": tmp_path / "cache",
        }
        return EvalSpec(**(values | changes))  # type: ignore[arg-type]

    return make


def pairs(plan: Plan) -> list[tuple[str, str, int]]:
    """(method, backbone without its digits, seed) of the cells at one frame, in their order."""
    keys = [cell.key for cell in plan.cells if cell.key.frames == 1]
    return [(key.method, key.backbone.partition("@")[0], key.seed) for key in keys]


def test_each_method_runs_where_it_belongs(spec: Make) -> None:
    plan = make_plan(spec("token_insertion,casa"))
    assert pairs(plan) == [
        ("token_insertion", "tiny-qwen3", 0),
        ("casa", "tiny-qwen3", 0),
        ("published", "smolvlm", 0),
        ("published", "qwen2_5_vl", 0),
    ]
    assert all(cell.skip is None for cell in plan.cells)
    assert plan.left_out is not None
    assert plan.left_out.startswith("left out: token_insertion, casa on smolvlm@")
    assert make_plan(spec("casa", backbones=("tiny-qwen3",))).left_out is None


def test_without_methods_every_backbone_runs_its_own(spec: Make) -> None:
    plan = make_plan(spec())
    assert [name for name, backbone, _ in pairs(plan) if backbone == "tiny-qwen3"] == list(registry.methods)
    assert pairs(plan)[-2:] == [("published", "smolvlm", 0), ("published", "qwen2_5_vl", 0)]
    assert plan.left_out is None


def test_settings_of_published_are_for_published_models_alone(spec: Make) -> None:
    plan = make_plan(spec("casa,published:times=none,published"))
    times = [cell.key.method_config.get("times") for cell in plan.cells if cell.key.frames == 1]
    assert times == [None, "none", "own", "none", "own"]
    assert plan.left_out is not None
    assert "published:times=none, published on tiny-qwen3" in plan.left_out


def test_published_weights_are_measured_once_and_random_ones_per_seed(spec: Make) -> None:
    plan = make_plan(spec("casa", seeds=(1, 2)))
    assert [(name, seed) for name, _, seed in pairs(plan)] == [
        ("casa", 1),
        ("casa", 2),
        ("published", 1),
        ("published", 1),
    ]
    assert plan.left_out is not None
    assert "seed 2 of smolvlm@" in plan.left_out
    random = make_plan(spec("casa", seeds=(1, 2), weights="random"))
    assert [seed for _, _, seed in pairs(random)] == [1, 2] * 3


def test_a_fused_model_s_folder_runs_its_own_method_and_seed(spec: Make, tmp_path: Path) -> None:
    config = new_config("vanilla_ca", {}, "tiny-qwen3", 7)
    trained = config.model_copy(update={"max_frames": 2, "heights": (112,), "widths": (112,)})
    save_model(build_model("vanilla_ca", {}, "tiny-qwen3", 7), trained, tmp_path / "mine")
    plan = make_plan(spec("casa", backbones=("tiny-qwen3", str(tmp_path / "mine"))))
    assert [(name, seed) for name, _, seed in pairs(plan)] == [("casa", 0), ("vanilla_ca", 7)]
    assert all(cell.skip is None for cell in plan.cells)


def test_a_backbone_that_is_named_twice_is_planned_once_and_alone(spec: Make, checkpoint: Folder) -> None:
    twice = make_plan(spec("casa", backbones=(str(checkpoint("smolvlm")),) * 2))
    assert len(twice.cells) == 2
    assert all("own fusion" in str(cell.skip) for cell in twice.cells)


def test_a_backbone_without_any_method_is_named(spec: Make, checkpoint: Folder) -> None:
    with pytest.raises(
        UsageError, match=r"\(published\) runs on backbone 'tiny-qwen3'; name a fusion method"
    ):
        make_plan(spec("published"))


def test_the_backbone_that_is_wrong_is_named(checkpoint: Folder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = str(checkpoint("smolvlm"))
    for wrong, message in (
        (str(tmp_path / "nowhere"), "nowhere' does not exist"),
        (str(tmp_path / "empty"), "empty has no config.json"),
        ("tiny-qwen", "unknown backbone 'tiny-qwen'"),
    ):
        arguments = ["eval", "--task", "videoqa", "--backbone", good, "--backbone", f"tiny-qwen3,{wrong}"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def planned_by(command: str, spec: EvalSpec, out: Path) -> list[str]:
    """Digests of the cells that a command plans."""
    arguments = [*shlex.split(command)[1:], "--plan-only", "--out", str(out), "--cache", str(spec.cache)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    files = [Path(shlex.split(line)[4]) for line in done.stdout.splitlines()]
    return [CellJob.from_json(file.read_text()).key.digest for file in files]


def recorded(plan: Plan) -> list[Record]:
    """A record for every cell, as if it had been skipped."""
    return [Started(cell.job).record(ENVIRONMENT, Skipped(reason="not now")) for cell in plan.cells]


@pytest.mark.parametrize(
    ("methods", "changes", "commands"),
    [
        ("casa,token_insertion", {}, 1),
        ("casa,published:times=none", {"seeds": (0, 1)}, 1),
        ("casa", {"weights": "random", "seeds": (0, 1), "limit": 3}, 1),
        ("casa", {"backbones": ("tiny-qwen3",)}, 1),
    ],
)
def test_the_commands_of_a_report_plan_the_same_cells(
    spec: Make, tmp_path: Path, methods: str, changes: dict[str, object], commands: int
) -> None:
    made = spec(methods, **{"tasks": (TaskSpec("videoqa"), TaskSpec("multi_image"))} | changes)
    plan = make_plan(made)
    lines = reproduce(recorded(plan))
    assert len(lines) == commands
    found = [digest for line in lines for digest in planned_by(line, made, tmp_path / "again")]
    assert sorted(found) == sorted(cell.key.digest for cell in plan.cells)


def test_trusted_code_is_in_the_command(spec: Make) -> None:
    (line,) = reproduce(recorded(make_plan(spec("casa", trust_remote_code=True))))
    assert line.endswith("--trust-remote-code")
