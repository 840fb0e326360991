"""The real command over real methods, with a task from a plugin file and one corrupt checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness import models, registry

PLUGIN = """
import numpy as np

from harness.registry import register_task
from harness.stream import Frame, Stream
from harness.task import Kind, Question, Sample, Score, Task, View, exact_match


@register_task("noise")
class Noise(Task):
    version = 1
    summary = "noise without an answer"
    licence = "MIT"
    source = "made here"
    kinds = {"any": Kind(description="anything", needs="any")}

    def samples(self, view: View) -> list[Sample]:
        rng = np.random.default_rng(view.seed)
        return [self._sample(rng, view, str(number)) for number in range(view.limit or 4)]

    def _sample(self, rng: np.random.Generator, view: View, name: str) -> Sample:
        shape = (view.height, view.width, 3)
        frames = [Frame(rng.integers(0, 256, shape, dtype=np.uint8), float(t)) for t in range(view.frames)]
        question = Question(id=name, kind="any", prompt="what", answer="red", chance=None)
        return Sample(id=name, stream=Stream.of(frames), questions=(question,), group=name)

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)
"""


def save(folder: Path, method: str) -> Path:
    """A model with random weights that passes for a trained one."""
    registry.discover()
    config = models.new_config(method, {}, "tiny-qwen3", 0)
    trained = config.model_copy(update={"max_frames": 2, "heights": (32,), "widths": (32,)})
    models.save_model(models.build_model(method, {}, "tiny-qwen3", 0), trained, folder / method)
    return folder / method / models.WEIGHTS


def test_a_corrupt_checkpoint_costs_its_own_cells_only(tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text(PLUGIN)
    save(tmp_path / "models", "vanilla_ca")
    corrupt = save(tmp_path / "models", "casa")
    corrupt.write_bytes(corrupt.read_bytes()[:1000])
    arguments = {
        "--task": "noise",
        "--plugin": tmp_path / "noise.py",
        "--methods": "vanilla_ca,casa",
        "--models": tmp_path / "models",
        "--frames": 1,
        "--resolution": 32,
        "--limit": 2,
        "--cache": tmp_path / "cache",
        "--out": tmp_path / "run",
    }
    command = [sys.executable, "-m", "harness.cli", "eval", "--json"]
    command += [str(word) for pair in arguments.items() for word in pair]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    good, bad = json.loads(done.stdout)
    assert good["outcome"]["kind"] == "ok"
    assert good["key"]["weights"] != "random"
    assert good["outcome"]["measures"]["latency"]["prefill"]["raw_ms"]
    assert bad["outcome"]["failure"] == "error"
    assert str(corrupt) in bad["outcome"]["message"]
    assert "Traceback" not in done.stderr
