"""What only a GPU can show: the same answers as on a CPU, and memory from the allocator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import registry
from harness.execute import run_eval
from harness.models import build_model
from harness.records import Ok
from harness.spec import EvalSpec, MethodSpec, TaskSpec
from harness.stream import Frame
from harness.task import View
from tests.measured import memory_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
registry.discover()
METHODS = tuple(registry.methods)


@pytest.mark.parametrize("method", METHODS)
def test_logits_equal_the_cpu(method: str) -> None:
    sample = registry.tasks.get("videoqa")().samples(View(frames=4, height=64, width=64, limit=1))[0]
    logits = []
    for device in ("cpu", "cuda"):
        session = build_model(method, {}, "tiny-qwen3", seed=0, device=device).session()
        for item in sample.stream:
            session.append(item)
        assert any(isinstance(item, Frame) for item in sample.stream)
        session.append_text(sample.questions[0].prompt)
        logits.append(session.next_logits().cpu())
    torch.testing.assert_close(logits[1], logits[0], atol=2e-3, rtol=0)


def test_a_run_records_the_allocators_peak(tmp_path: Path) -> None:
    spec = EvalSpec(
        tasks=(TaskSpec("videoqa"),),
        methods=tuple(MethodSpec(method) for method in METHODS),
        frames=(4,),
        limit=4,
        device="cuda",
        weights="random",
        out=tmp_path,
        cache_dir=tmp_path / "cache",
    )
    for record in run_eval(spec):
        assert isinstance(record.outcome, Ok), record.outcome
        memory = memory_of(record.outcome.measures)
        assert memory.source == "cuda"
        assert memory.reserved_bytes is not None
        assert memory.reserved_bytes >= memory.peak_bytes > memory.resting_bytes > 0
        assert record.environment.gpu
