"""One model and one data set through lmms-eval's command line and through the harness's loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness import registry
from harness.lmms.catalogue import find
from harness.measure.accuracy import answer_all
from harness.measure.cache import EntryCache
from harness.measure.views import load_view
from harness.models import load_model
from harness.records import SampleOutcome
from harness.settings import build_config
from harness.task import Task, View
from tests.lmms.sources import Source

FRAMES, SIZE, NEW_TOKENS = 4, 64, 1
Theirs = tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]
Ours = dict[str, tuple[Task, list[SampleOutcome]]]


def theirs(
    folder: Path, sources: Sequence[Source], data: Mapping[str, Path], model: Path, *options: str
) -> Theirs:
    """Results and logged samples of one run of ``lmms-eval`` over data sets, by the task's own name."""
    home = data[sources[0].task]
    for _ in (sources[0].home or sources[0].task).split("/"):
        home = home.parent
    for source in sources:
        (leaf,) = find(source.task)
        inner = data[source.task] / (source.configuration or "")
        document = {
            "include": str(leaf.path),
            "task": f"local_{source.task}",
            "dataset_path": str(inner),
            "dataset_kwargs": {"load_from_disk": True},
        }
        (folder / f"local_{source.task}.yaml").write_text(yaml.safe_dump(document))
    arguments = f"checkpoint={model},frames={FRAMES},resolution={SIZE}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lmms_eval", "--model", "fusion_harness", "--model_args", arguments),
            *("--tasks", ",".join(f"local_{source.task}" for source in sources)),
            *("--include_path", str(folder), "--gen_kwargs", f"max_new_tokens={NEW_TOKENS}"),
            *("--output_path", str(folder / "out"), "--log_samples", *options),
        ],
        env={**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    written = sorted((folder / "out").rglob("*_results.json"))
    assert written, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads(written[0].read_text())
    samples = {}
    for source in sources:
        (path,) = (folder / "out").rglob(f"*_samples_local_{source.task}.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        samples[source.task] = sorted(lines, key=lambda line: int(line["doc_id"]))
    return results, samples


def ours(folder: Path, sources: Iterable[Source], data: Mapping[str, Path], model: Path) -> Ours:
    """What the harness's own loop makes of the same."""
    registry.discover()
    loaded = load_model(model)
    cache = EntryCache(folder, print)
    view = View(frames=FRAMES, height=SIZE, width=SIZE)
    found = {}
    for source in sources:
        cls = registry.tasks.get(f"lmms:{source.task}")
        settings = {"data": str(data[source.task]), "max_new_tokens": NEW_TOKENS}
        task = cls(build_config(cls.Config, settings, source.task))
        encoded = load_view(f"lmms:{source.task}", task, view, loaded, "cpu", cache)
        found[source.task] = (task, answer_all(loaded, task, encoded, device="cpu", batch=4, progress=print))
    return found
