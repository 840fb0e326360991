"""Where a cell was measured with several weights, one record counts, and what does not is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compare.sides import find_sides
from harness.errors import UsageError
from harness.plan import make_plan
from harness.records import Outcome, Record, Skipped
from harness.report.evidence import gather
from harness.spec import EvalSpec, MethodSpec, TaskSpec
from harness.store import Store
from harness.superseded import standing
from tests.published_models.checkpoints import write_published
from tests.report import synthetic as s

OLD, NEW = "a" * 16, "b" * 16
RUN = Path("run")


def measured(weights: str, minute: int, outcome: Outcome | None = None, **changes: Any) -> Record:
    found = s.record(s.key(weights=weights, **changes), outcome)
    return found.model_copy(update={"started_at": f"2026-01-02T03:{minute:02d}:00+00:00"})


def counting(*records: Record) -> list[str]:
    return [record.key.weights for record in standing(records, RUN)[0]]


def test_the_cell_that_was_begun_last_counts_whatever_the_order() -> None:
    old, new = measured(OLD, 1), measured(NEW, 2)
    assert counting(old, new) == counting(new, old) == [NEW]
    _, (problem,) = standing([old, new], RUN)
    assert problem.path == RUN / "records" / f"{old.key.digest}.json"
    assert f"weights {OLD}; the same cell was begun with others ({NEW})" in problem.reason


def test_trained_weights_count_before_random_ones() -> None:
    assert counting(measured(OLD, 1), measured("random", 2)) == [OLD]
    assert counting(measured("random", 1)) == ["random"]
    _, (problem,) = standing([measured(OLD, 1), measured("random", 2)], RUN)
    assert problem.reason == f"random weights; the same cell was measured with trained ones ({OLD})"


def test_a_failure_counts_and_a_skip_does_not() -> None:
    assert counting(measured(OLD, 1), measured(NEW, 2, s.failed())) == [NEW]
    assert counting(measured(OLD, 1), measured("none", 2, Skipped(reason="no weights"))) == [OLD]


def test_other_cells_are_left_alone() -> None:
    cells = [
        measured(OLD, 1),
        measured(NEW, 2, seed=1),
        measured(NEW, 3, frames=4),
        measured(NEW, 4, method="vanilla_ca"),
        measured(NEW, 5, backbone="other"),
    ]
    assert standing(cells, RUN) == (cells, [])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    store = Store(tmp_path / "run").open()
    for record in (measured(OLD, 1), measured(NEW, 2), measured(OLD, 1, method="vanilla_ca")):
        store.write(record)
    return tmp_path / "run"


def test_a_report_has_no_number_of_two_models(run: Path) -> None:
    evidence = gather(run)
    assert sorted(evidence.cells["weights"]) == [OLD, NEW]
    assert len(evidence.cells) == 2
    (left_out,) = [one for one in evidence.problems if one.path.parent.name == "records"]
    assert left_out.path.stem == measured(OLD, 1).key.digest


def test_a_comparison_has_none_either(run: Path) -> None:
    ((first, _),), problems = find_sides("casa", "vanilla_ca", run)
    assert [record.key.weights for record in first.records] == [NEW]
    assert len(problems) == 1


def test_two_models_that_only_weights_tell_apart_are_not_planned_together(tmp_path: Path) -> None:
    folders = tmp_path / "one" / "model", tmp_path / "two" / "model"
    for folder in folders:
        write_published("smolvlm", folder)

    def spec(*backbones: Path) -> EvalSpec:
        return EvalSpec(
            tasks=(TaskSpec("videoqa"),), methods=(), backbones=tuple(map(str, backbones)), out=tmp_path
        )

    assert len(make_plan(spec(*folders)).cells) == len(EvalSpec.frames)  # The same model, twice.
    weights = folders[1] / "model.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(bytes(whole))
    with pytest.raises(UsageError, match="would be one row of every table; give one of the folders another"):
        make_plan(spec(*folders))
    (tmp_path / "other").symlink_to(folders[1])
    assert len(make_plan(spec(folders[0], tmp_path / "other")).cells) == 2 * len(EvalSpec.frames)


def test_settings_tell_models_apart(tmp_path: Path) -> None:
    methods = tuple(MethodSpec.parse(name) for name in ("casa", "casa:gists=4"))
    plan = make_plan(
        EvalSpec(tasks=(TaskSpec("videoqa"),), methods=methods, weights="random", out=tmp_path, frames=(1,))
    )
    assert len({json.dumps(cell.key.method_config) for cell in plan.cells}) == 2
