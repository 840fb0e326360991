"""The same model, task and frames through both ways: their command line and ours give the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import registry
from harness.lmms.catalogue import find
from harness.measure.accuracy import aggregates, answer_all, summarise
from harness.measure.cache import EntryCache
from harness.measure.views import load_view
from harness.models import load_model
from harness.records import SampleOutcome
from harness.settings import build_config
from harness.task import Task, View
from tests.lmms.datasets import SOURCES
from tests.lmms.sources import Source

pytestmark = [pytest.mark.lmms, pytest.mark.slow]

FRAMES, SIZE, NEW_TOKENS = 4, 64, 1
GUESSING = ("egoschema_subset", "nextqa_mc_test", "longvideobench_val_v")
"""Their scorers guess at random where an answer names no letter."""
IDS = [source.task for source in SOURCES]


@pytest.fixture(scope="module")
def theirs(
    tmp_path_factory: pytest.TempPathFactory, data: Mapping[str, Path], fused: Path
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Results and logged samples of one run of ``lmms-eval`` over every data set, by the task's own name."""
    folder = tmp_path_factory.mktemp("theirs")
    for source in SOURCES:
        (leaf,) = find(source.task)
        inner = data[source.task] / (source.configuration or "")
        document = {
            "include": str(leaf.path),
            "task": f"local_{source.task}",
            "dataset_path": str(inner),
            "dataset_kwargs": {"load_from_disk": True},
        }
        (folder / f"local_{source.task}.yaml").write_text(yaml.safe_dump(document))
    arguments = f"checkpoint={fused},frames={FRAMES},resolution={SIZE}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lmms_eval", "--model", "fusion_harness", "--model_args", arguments),
            *("--tasks", ",".join(f"local_{source.task}" for source in SOURCES)),
            *("--include_path", str(folder), "--gen_kwargs", f"max_new_tokens={NEW_TOKENS}"),
            *("--output_path", str(folder / "out"), "--log_samples"),
        ],
        env={**os.environ, "HF_HOME": str(data["chartqa"].parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    written = sorted((folder / "out").rglob("*_results.json"))
    assert written, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads(written[0].read_text())
    samples = {}
    for source in SOURCES:
        (path,) = (folder / "out").rglob(f"*_samples_local_{source.task}.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        samples[source.task] = sorted(lines, key=lambda line: int(line["doc_id"]))
    return results, samples


@pytest.fixture(scope="module")
def ours(
    tmp_path_factory: pytest.TempPathFactory, data: Mapping[str, Path], fused: Path
) -> dict[str, tuple[Task, list[SampleOutcome]]]:
    """What the harness's own loop makes of the same."""
    registry.discover()
    model = load_model(fused)
    cache = EntryCache(tmp_path_factory.mktemp("views"), print)
    view = View(frames=FRAMES, height=SIZE, width=SIZE)
    found = {}
    for source in SOURCES:
        cls = registry.tasks.get(f"lmms:{source.task}")
        settings = {"data": str(data[source.task]), "max_new_tokens": NEW_TOKENS}
        task = cls(build_config(cls.Config, settings, source.task))
        encoded = load_view(f"lmms:{source.task}", task, view, model, "cpu", cache)
        outcomes = answer_all(model, task, encoded, device="cpu", batch=4, progress=print)
        found[source.task] = (task, outcomes)
    return found


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_answers_are_the_same(source: Source, theirs: Any, ours: Any) -> None:
    logged = [sample["filtered_resps"] for sample in theirs[1][source.task]]
    given = [answer if isinstance(answer, str) else answer[0] for answer in logged]
    _, outcomes = ours[source.task]
    assert [outcome.prediction for outcome in outcomes] == given
    assert all(outcome.status in ("scored", "unparsed") for outcome in outcomes)


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_metrics_are_the_same(source: Source, theirs: Any, ours: Any) -> None:
    task, outcomes = ours[source.task]
    if source.task in GUESSING and not all(set(o.prediction or "") & set("ABCDE") for o in outcomes):
        pytest.skip("an answer names no letter, and this scorer guesses at random then")
    table = theirs[0]["results"][f"local_{source.task}"]
    for metric, value in aggregates(task, outcomes, print).items():
        found = [table[key] for key in table if key.split(",")[0] == metric]
        if value is not None:
            assert found == [pytest.approx(value)], metric


MEANS = {
    "muirbench": "muirbench_score_overall",
    "mantis": "mantis_score",
    "blink_art_style": "blink_acc",
    "egoschema_subset": "score",
    "perceptiontest_val_mc": "accuracy",
    "longvideobench_val_v": "lvb_acc",
    "nextqa_mc_test": "exact_match",
    "chartqa": "relaxed_overall",
    "docvqa_val": "anls",
    "infovqa_val": "anls",
    "textvqa_val": "exact_match",
    "realworldqa": "exact_match",
    "ai2d": "exact_match",
}
"""Metrics that are the mean of the answers' scores."""


@pytest.mark.parametrize("name", MEANS)
def test_the_mean_of_the_scores_is_their_metric(name: str, ours: Any) -> None:
    task, outcomes = ours[name]
    assert summarise(outcomes).mean == pytest.approx(aggregates(task, outcomes, print)[MEANS[name]])


def test_some_answers_are_right(ours: Any) -> None:
    """Else the tests above would compare zeros with zeros."""
    right = [name for name, (_, outcomes) in ours.items() if any(outcome.value for outcome in outcomes)]
    assert len(right) >= 6, right


def test_throughput_and_peak_memory_are_in_their_results(theirs: Any) -> None:
    throughput = theirs[0]["throughput"]
    assert throughput["total_gen_tokens"] > 0
    assert throughput["avg_peak_memory_bytes"] > 1e5
    assert throughput["avg_latency"] > 0
