"""``harness eval`` from its arguments to its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.plan import CellJob
from harness.registry import BrokenPlugin
from harness.store import load_records

from .conftest import World


def test_the_full_grid_is_measured_shown_and_reported(world: World) -> None:
    done = world.eval("--frames", "1,2", "--resolution", "32x48,64")
    records, problems = load_records(world.folder / "run")
    assert done.exit_code == 0, done.stderr
    assert len(records) == 2 * 2 * 2
    assert problems == []
    assert "50.0 [25.0, 75.0]" in done.stdout
    assert "32x48" in done.stdout
    assert f"report: {world.folder / 'run' / 'report.html'}" in done.stdout
    assert f"markdown: {world.folder / 'run' / 'report.md'}" in done.stdout
    assert "[8/8] counting toy 2 frame(s) 64x64 seed 0: accuracy 50.0 %" in done.stderr


def test_json_is_one_document_on_standard_output(world: World) -> None:
    done = world.eval("--frames", "1", "--json")
    document = json.loads(done.stdout)
    assert [entry["key"]["method"] for entry in document] == ["other", "toy"]
    assert {entry["outcome"]["kind"] for entry in document} == {"ok"}
    assert document[0]["outcome"]["measures"]["memory"]["peak_bytes"] == 2**20
    assert all((world.folder / "run" / "records" / f"{entry['digest']}.json").exists() for entry in document)
    assert "report.md" in done.stderr


def test_methods_vary_fastest_and_seeds_next(world: World) -> None:
    done = world.eval("--frames", "2,1", "--seed", "0,1", "--weights", "random", "--plan-only")
    cells = [CellJob.from_json(Path(line.split()[4]).read_text()).key for line in done.stdout.splitlines()]
    assert [(key.frames, key.seed, key.method) for key in cells] == [
        (frames, seed, method) for frames in (2, 1) for seed in (0, 1) for method in ("other", "toy")
    ]


def test_running_again_measures_nothing_and_shows_the_same(world: World) -> None:
    first = world.eval("--frames", "1,2")
    again = world.eval("--frames", "1,2")
    assert again.stdout == first.stdout
    assert "4 cells: 0 to measure, 4 measured already" in again.stderr


def test_settings_of_a_method_are_part_of_the_cell(world: World) -> None:
    world.trained["toy", 4, 0] = world.folder / "toy4"
    done = world.eval("--frames", 1, "--methods", "toy,toy:gists=4+rate=1,toy:gists=2", "--json")
    configs = [entry["key"]["method_config"] for entry in json.loads(done.stdout)]
    assert configs == [
        {"gists": 2, "rate": 0.5, "order": "up", "layers": []},
        {"gists": 4, "rate": 1.0, "order": "up", "layers": []},
    ]


def test_a_cell_without_weights_is_skipped_with_the_way_out(world: World) -> None:
    done = world.eval("--frames", "1,2", "--methods", "toy,toy:gists=4", "--seed", "0,1")
    assert done.exit_code == 0
    assert "skipped 2 cells: no trained weights for toy gists=4 seed 1" in done.stderr
    assert "`harness train --method toy:gists=4 --seed 1 --out DIR`" in done.stderr
    assert "--weights random" in done.stderr


def test_nothing_measured_has_its_own_exit_status(world: World) -> None:
    world.trained.clear()
    done = world.eval("--json")
    assert done.exit_code == 3
    assert {entry["outcome"]["kind"] for entry in json.loads(done.stdout)} == {"skipped"}
    assert "error: none of 8 cells was measured" in done.stderr


def test_random_weights_need_no_training(world: World) -> None:
    world.trained.clear()
    done = world.eval("--frames", 1, "--weights", "random", "--json")
    assert done.exit_code == 0
    assert {entry["key"]["weights"] for entry in json.loads(done.stdout)} == {"random"}


@pytest.mark.parametrize("option", ["--data", "--out", "--models", "--plugin", "--cache"])
def test_a_path_that_no_record_can_hold_is_named(world: World, option: str) -> None:
    done = world.eval("--methods", "toy", option, "fold\udcff")
    assert done.exit_code == 2
    assert "'fold\\udcff' is not UTF-8; rename what it names" in done.stderr.replace("\\\\", "\\")


def test_a_failed_cell_is_shown_and_the_rest_goes_on(world: World) -> None:
    world.fake = "fault_at_two_frames"
    done = world.eval("--methods", "toy", "--frames", "1,2,4")
    assert done.exit_code == 0
    assert "failed: error" in done.stdout
    assert "failed 1 cell: error: RuntimeError at tests/execute/fakes.py:" in done.stderr
    assert ": planted at two frames\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in world.eval("--methods", "toy", "--frames", "1,2,4", "--debug").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "tooy"), "unknown method 'tooy': did you mean 'toy'?"),
        (("--methods", "toy:gist=4"), "unknown setting 'gist' of method 'toy': did you mean 'gists'?"),
        (("--methods", "toy:gists=four"), "method 'toy': gists='four' is not int; give a whole number"),
        (("--methods", "toy:order=left"), "give one of up, down"),
        (("--methods", "toy:gists"), "'gists' in 'toy:gists' is not a setting"),
        (("--methods", "toy:gists=1+gists=2"), "set twice"),
        (("--methods", "other:gists=4"), "method 'other' has no settings"),
        (("--methods", "[bold]"), "'[bold]' is not a name"),
        (("--task", "countin"), "unknown task 'countin': did you mean 'counting'?"),
        (("--backbone", "tiny"), "unknown backbone 'tiny': did you mean 'tiny-qwen3'?"),
        (("--frames", "0"), "frames 0 is not usable; the least is 1"),
        (("--frames", "1" + "0" * 20), f"frames 1{'0' * 20} is not usable; the greatest is"),
        (("--view-seed", "-1"), "view-seed -1 is not usable; the least is 0"),
        (("--frames", "one"), "frames 'one' is not a whole number"),
        (("--frames", ","), "no frames is given"),
        (("--resolution", "64x"), "resolution '' is not a whole number"),
        (("--resolution", "0"), "resolution 0 is not usable"),
        (("--limit", "0"), "limit 0 is not usable"),
        (("--seed", "-1"), "seed -1 is not usable"),
        (("--threads", "0"), "threads 0 is not usable"),
        (("--timeout", "nan"), "timeout nan is not usable"),
        (("--device", "gpu"), "unknown device 'gpu': give cpu, cuda or cuda:N"),
        (("--dtype", "int8"), "unknown dtype 'int8': give one of float32, bfloat16, float16"),
        (("--weights", "some"), "unknown weights 'some'"),
    ],
)
def test_what_cannot_be_used_is_one_line(world: World, arguments: tuple[str, ...], message: str) -> None:
    done = world.eval(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (world.folder / "run").exists()


def test_no_task_and_unknown_options_are_usage_errors(world: World) -> None:
    no_task = world.run("eval")
    assert no_task.exit_code == 2
    assert "no task is given" in no_task.stderr
    assert world.eval("--farmes", "1").exit_code == 2


def test_debug_shows_the_traceback(world: World) -> None:
    done = world.eval("--methods", "tooy", "--debug")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "error: unknown method" in done.stderr


def test_a_device_that_is_not_there_is_infrastructure(world: World) -> None:
    done = world.eval("--device", "cuda:63")
    assert done.exit_code == 4
    assert "device 'cuda:63' is not there" in done.stderr


def test_a_run_folder_that_cannot_be_written_is_infrastructure(world: World) -> None:
    (world.folder / "run").write_text("")
    done = world.eval("--frames", "1")
    assert done.exit_code == 4
    assert "choose another folder with --out" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_infrastructure_and_what_is_measured_stays(world: World) -> None:
    world.fake = "full_disk_at_two_frames"
    done = world.eval("--methods", "toy", "--frames", "1,2,4")
    assert done.exit_code == 4
    assert "error: cannot write to" in done.stderr
    assert "the disk is full" in done.stderr
    assert len(load_records(world.folder / "run")[0]) == 1


def test_a_broken_plugin_is_named_and_the_rest_goes_on(world: World) -> None:
    world.broken.append(BrokenPlugin("mine.py", "ImportError: no module named 'x'", "Traceback: planted"))
    done = world.eval("--frames", "1")
    assert done.exit_code == 0
    assert "warning: plugin mine.py could not be imported: ImportError: no module named 'x'" in done.stderr
    assert "planted" not in done.stderr
    assert "planted" in world.eval("--frames", "1", "--debug").stderr


def test_a_method_that_only_a_broken_plugin_has_says_so(world: World) -> None:
    world.broken.append(BrokenPlugin("mine.py", "ImportError: planted", "Traceback"))
    done = world.eval("--methods", "mine")
    assert done.exit_code == 2
    assert "what could not be imported is missing: plugin mine.py (ImportError: planted)" in done.stderr


def test_answers_that_could_not_be_parsed_are_said_of_the_worst_cell(world: World) -> None:
    world.fake = "unparsed"
    done = world.eval("--methods", "toy", "--frames", "1,2")
    assert done.exit_code == 0
    assert done.stderr.count("could not be parsed") == 1
    assert (
        "answers on counting could not be parsed and count as wrong: toy 14 of 14; the files" in done.stderr
    )


def test_questions_that_count_for_nothing_are_named(world: World) -> None:
    world.fake = "unreadable"
    done = world.eval("--frames", "1,2")
    assert done.exit_code == 0
    assert done.stderr.count("1 sample of counting could not be asked or scored") == 1
    assert "do not count: [b]typo.png\n" in done.stderr


def test_an_interrupt_says_how_to_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.execute.run_eval", interrupted)
    done = world.eval()
    assert done.exit_code == 130
    assert f"kept in {world.folder / 'run'}; run the same command again" in done.stderr


def test_a_bug_is_one_line_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*arguments: object) -> None:
        raise TypeError("planted\nframe #0: c10::Error")

    monkeypatch.setattr("harness.execute.run_eval", buggy)
    done = world.eval()
    assert done.exit_code == 4
    assert re.match(
        r"error: unexpected TypeError at \S+test_eval\.py:\d+: planted; run again with --debug for the "
        r"traceback\n",
        done.stderr,
    )


def test_a_package_that_is_missing_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr("harness.execute.run_eval", lacking)
    done = world.eval()
    assert done.exit_code == 4
    assert done.stderr.startswith("error: the package torch is not installed here; `harness doctor` says")


def test_the_default_folder_is_named_after_the_tasks(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = world.run("eval", "--task", "counting", "--frames", "1")
    assert done.exit_code == 0
    assert (tmp_path / "results" / "runs" / "counting" / "report.md").exists()


def test_plan_only_prints_commands_that_run(world: World) -> None:
    done = world.eval("--frames", "1", "--methods", "toy", "--plan-only")
    commands = done.stdout.splitlines()
    assert len(commands) == 1
    assert f"-m harness.worker --cell {world.folder / 'run' / 'cells'}" in commands[0]
    assert load_records(world.folder / "run")[0] == []


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, harness.cli, harness.spec\n"
        "heavy = {'torch', 'transformers', 'pandas', 'datasets', 'matplotlib', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cells_without_one_scored_answer_are_no_success_and_are_asked_again(world: World) -> None:
    world.fake = "unscored"
    done = world.eval("--methods", "toy", "--frames", "1")
    assert done.exit_code == 3
    assert "measured, but no answer was scored" in done.stderr
    assert "(KeyError: 'Judge')" in done.stderr
    assert "no answer of 1 cell was scored" in done.stderr
    assert "1.00" in done.stdout
    world.fake = "good"
    done = world.eval("--methods", "toy", "--frames", "1")
    assert done.exit_code == 0
    assert "1 to measure, 0 measured already" in done.stderr
    assert "50.0 [25.0, 75.0]" in done.stdout
