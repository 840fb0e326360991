"""lmms-eval's tasks inside the harness: names, identity, what goes wrong, and what must not leak."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import registry
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.lmms.catalogue import PINNED, find, installed
from harness.lmms.data import hub_revision
from harness.lmms.task import LmmsConfig, LmmsTask
from harness.measure.accuracy import Scorer
from harness.settings import build_config, split_places
from harness.task import View
from tests.lmms.sources import photo

pytestmark = pytest.mark.lmms

VIEW = View(frames=2, height=32, width=32, limit=2)
Open = Callable[..., LmmsTask]


@pytest.fixture
def opened(data: Mapping[str, Path]) -> Open:
    """A task on its local data."""

    def make(name: str, **settings: object) -> LmmsTask:
        task = registry.tasks.get(f"lmms:{name}")
        given = {"data": str(data[name]), **settings}
        made = task(build_config(task.Config, given, name))
        assert isinstance(made, LmmsTask)
        return made

    return make


SEVERAL = "muirbench mantis blink mvbench egoschema videomme nextqa tempcompass"
PREFIXES = "mlvu longvideobench perceptiontest"
SINGLE = "chartqa docvqa infovqa ocrbench textvqa realworldqa ai2d gqa mme"


@pytest.mark.parametrize("name", [*SEVERAL.split(), *SINGLE.split()])
def test_every_benchmark_is_a_task(name: str) -> None:
    assert all(leaf.config["dataset_path"] and leaf.path.is_file() for leaf in find(name))


@pytest.mark.parametrize("name", PREFIXES.split())
def test_a_benchmark_without_a_group_names_its_tasks(name: str) -> None:
    with pytest.raises(UsageError, match=f"has no task '{name}' but {name}_"):
        find(name)


def test_a_group_stands_for_its_tasks() -> None:
    assert len(find("blink")) == 14
    assert {leaf.name for leaf in find("docvqa")} == {"docvqa_val", "docvqa_test"}
    assert list(registry.tasks.get("lmms:docvqa").kinds) == ["docvqa_val", "docvqa_test"]


def test_an_unknown_task_gets_near_matches() -> None:
    with pytest.raises(UsageError, match="did you mean 'muirbench'"):
        registry.tasks.get("lmms:muirbenc")
    with pytest.raises(UsageError, match="is a family of many; name one as lmms:NAME"):
        registry.tasks.get("lmms")


def test_the_identity_names_versions_and_data_but_not_where_it_lies(
    data: Mapping[str, Path], tmp_path: Path
) -> None:
    cls = registry.tasks.get("lmms:chartqa")
    moved = shutil.copytree(data["chartqa"], tmp_path / "moved")
    first, second = (
        split_places(build_config(cls.Config, {"data": str(path)}, "chartqa"))
        for path in (data["chartqa"], moved)
    )
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert first[0]["lmms_eval"] == installed()
    assert len(first[0]["task_hash"]) == len(first[0]["fingerprint"]) == 16


def test_data_that_has_changed_is_refused(data: Mapping[str, Path]) -> None:
    cls = registry.tasks.get("lmms:chartqa")
    with pytest.raises(UsageError, match=r"fingerprint is .* not 0123456789abcdef; give the data"):
        build_config(cls.Config, {"data": str(data["chartqa"]), "fingerprint": "0123456789abcdef"}, "x")
    with pytest.raises(UsageError, match=r"lmms_eval is .*, not 0\.1"):
        build_config(cls.Config, {"data": str(data["chartqa"]), "lmms_eval": "0.1"}, "x")


def test_a_column_that_is_missing_is_named(data: Mapping[str, Path], tmp_path: Path) -> None:
    from datasets import load_from_disk

    whole = load_from_disk(str(data["muirbench"]))
    whole.remove_columns("options").save_to_disk(str(tmp_path / "less"))
    cls = registry.tasks.get("lmms:muirbench")
    task = cls(build_config(cls.Config, {"data": str(tmp_path / "less")}, "x"))
    with pytest.raises(
        UsageError, match=r"lmms:muirbench reads 'options' of a document, which the data in .*less"
    ):
        task.samples(VIEW)


def test_without_hub_and_data_one_line_names_both_ways(own_cache: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"MUIRBENCH/MUIRBENCH.*HF_HUB_OFFLINE.*--data DIR"):
        hub_revision(find("muirbench")[0])


def test_from_the_hub_data_is_read_at_the_commit_that_is_recorded(
    data: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def load_dataset(**options: Any) -> Any:
        asked.append(options)
        return datasets.load_from_disk(str(data["chartqa"]))

    found = SimpleNamespace(sha="0123456789abcdef0123")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *given, **options: found)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    cls = registry.tasks.get("lmms:chartqa")
    config = build_config(cls.Config, {}, "x")
    assert split_places(config)[0]["fingerprint"] == "hub-0123456789ab"
    assert len(cls(config).samples(VIEW)) == 2
    assert asked[0]["path"] == "lmms-lab-encoder/ChartQA"
    assert asked[0]["revision"] == found.sha


def test_a_task_of_another_output_type_is_refused(data: Mapping[str, Path]) -> None:
    cls = registry.tasks.get("lmms:unig2u_illusionbench_arshia_logo_shape_visual_cot")
    with pytest.raises(UsageError, match=r"output type generate_visual_cot.*generate_until or multiple_ch"):
        build_config(cls.Config, {"data": str(data["chartqa"])}, "x")


def test_a_missing_video_is_an_error_of_its_questions(opened: Open, tmp_path: Path) -> None:
    """Theirs ends the process there (`sys.exit`), with exit status 1 and nothing written."""
    whole = opened("egoschema_subset")
    copy = shutil.copytree(whole.config.data, tmp_path / "egoschema")
    (copy / "videos" / "v0.mp4").unlink()
    samples = opened("egoschema_subset", data=str(copy)).samples(VIEW)
    assert [len(sample.stream.frames) for sample in samples] == [0, 2]
    outcome = Scorer(whole, print).outcome(samples[0], samples[0].questions[0], None)
    assert (outcome.status, outcome.frames_digest) == ("error", None)
    assert "v0.mp4 does not exist" in str(outcome.reason)


def test_a_scorer_that_wants_a_judge_is_an_error_not_a_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    from datasets import Dataset

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = tmp_path / "tempcompass"
    (folder / "multi-choice").mkdir(parents=True)
    rows = [{"video_id": "1", "question": "Which?\nA. up\nB. down", "answer": "A. up", "dim": "action"}]
    Dataset.from_list(rows).to_parquet(str(folder / "multi-choice" / "test.parquet"))
    cls = registry.tasks.get("lmms:tempcompass_multi_choice")
    task = cls(build_config(cls.Config, {"data": str(folder)}, "x"))
    (sample,) = task.samples(VIEW)
    said: list[str] = []
    scorer = Scorer(task, said.append)
    right, wrong, unread = (scorer.score(text, sample.questions[0]) for text in ("A", "B. down", "it rises"))
    assert (right.value, wrong.value, unread.status) == (1.0, 0.0, "error")
    assert "wants a judge" in said[0]
    assert "wants a judge" in str(scorer.outcome(sample, sample.questions[0], "it rises").reason)


def test_a_data_set_that_a_task_s_code_reads_itself_is_local_too(tmp_path: Path, own_cache: Path) -> None:
    """GQA joins its questions to the images of a second configuration."""
    from datasets import Dataset, Features, Image, Value

    rows = {"id": ["1"], "imageId": ["b"], "question": ["Is it day?"], "answer": ["yes"]}
    features = Features({"id": Value("string"), "image": Image()})
    images = Dataset.from_dict({"id": ["a", "b"], "image": [photo(0), photo(1)]}, features=features)
    for name, table in (("instructions", Dataset.from_dict(rows)), ("images", images)):
        folder = tmp_path / f"testdev_balanced_{name}"
        folder.mkdir()
        table.to_parquet(str(folder / "testdev-00000-of-00001.parquet"))
    cls = registry.tasks.get("lmms:gqa")
    task = cls(build_config(cls.Config, {"data": str(tmp_path)}, "x"))
    (sample,) = task.samples(VIEW)
    assert len(sample.stream.frames) == 1
    assert task.score("Yes.", sample.questions[0]).value == 1.0


def test_nothing_of_lmms_eval_leaks(opened: Open, capfd: pytest.CaptureFixture[str]) -> None:
    from loguru import logger
    from PIL import ImageFile

    heard: list[str] = []
    sink = logger.add(lambda message: heard.append(str(message)), level="DEBUG")

    def state() -> tuple[Any, ...]:
        root = logging.getLogger()
        filters = list(warnings.filters)
        return dict(os.environ), root.handlers[:], root.level, filters, ImageFile.LOAD_TRUNCATED_IMAGES

    try:
        before, drawn = state(), random.getstate()
        task = opened("mlvu_dev")
        samples = task.samples(VIEW)
        outcomes = [Scorer(task, print).outcome(one, one.questions[0], "A") for one in samples]
        assert task.aggregates(outcomes)
        assert state() == before
        assert random.getstate() == drawn
    finally:
        logger.remove(sink)
    captured = capfd.readouterr()
    assert (captured.out, captured.err, heard) == ("", "", [])


def test_a_scorer_that_guesses_always_guesses_the_same(opened: Open) -> None:
    task = opened("egoschema_subset")
    (question,) = task.samples(VIEW)[0].questions
    assert len({task.score("no letter", question).value for _ in range(8)}) == 1


def test_a_count_kept_in_a_module_does_not_grow(opened: Open) -> None:
    task = opened("ocrbench")
    samples = task.samples(VIEW)
    outcomes = [Scorer(task, print).outcome(one, one.questions[0], "a") for one in samples]
    assert task.aggregates(outcomes) == task.aggregates(outcomes) == {"ocrbench_accuracy": 0.001}


def test_submissions_are_not_made_here(opened: Open) -> None:
    task = opened("textvqa_val")
    samples = task.samples(VIEW)
    outcomes = [Scorer(task, print).outcome(one, one.questions[0], "yes") for one in samples]
    assert task.aggregates(outcomes)["submission"] is None


def test_questions_of_a_cluster_share_their_group(opened: Open) -> None:
    samples = opened("videomme").samples(View(frames=1, height=16, width=16))
    assert [sample.group for sample in samples] == ["v0", "v1", "v0", "v1"]


def test_naming_no_such_task_costs_no_import_of_it() -> None:
    code = (
        "import sys; from harness import registry; registry.discover(); "
        "assert registry.tasks.families(); assert 'lmms_eval' not in sys.modules; "
        "registry.tasks.get('lmms:muirbench'); assert 'lmms_eval' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pinned_version_is_installed() -> None:
    assert installed() == PINNED


def test_errors_of_the_config_are_the_harness_s() -> None:
    assert issubclass(registry.tasks.get("lmms:chartqa").Config, LmmsConfig)
    with pytest.raises(HarnessError, match="max_new_tokens=0"):
        build_config(LmmsConfig, {"max_new_tokens": 0}, "x")
