"""A published model is planned, measured, recorded and resumed as any other cell."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from harness import registry
from harness.errors import UsageError
from harness.measure import cell
from harness.measure.cell import measure_cell
from harness.measure.latency import Repeats, measure_latency
from harness.measure.memory import count_prefill
from harness.measure.subject import Subject
from harness.measure.workload import Workload
from harness.plan import CellJob, make_plan, method_label
from harness.published_models import METHOD
from harness.published_models.cross import Mllama
from harness.published_models.insertion import SmolVLM
from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.records import Failed
from harness.session import Session
from harness.spec import EvalSpec, MethodSpec, TaskSpec
from harness.stream import Frame, Stream
from harness.vlm import FusedModel
from harness.worker import MEASURE, attempt
from tests.measure.pictures import NAME, Pictures
from tests.measured import memory_of

Folder = Callable[[str], Path]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The task of the measuring tests; every phase is timed twice only."""
    few = functools.partial(measure_latency, repeats=Repeats(least=2, most=2))
    monkeypatch.setattr(cell, "measure_latency", few)
    registry.discover()
    known = registry.tasks.names()
    registry.tasks.add(NAME, Pictures, __name__)
    yield
    registry.tasks.keep(known)


@pytest.fixture
def spec(checkpoint: Folder, tmp_path: Path) -> Callable[..., EvalSpec]:
    def make(kind: str, **changes: object) -> EvalSpec:
        values: dict[str, object] = {
            "tasks": (TaskSpec.parse(f"{NAME}:clips=2"),),
            "frames": (2,),
            "resolutions": ((56, 64),),
            "backbones": (str(checkpoint(kind)),),
            "batch": 2,
            "out": tmp_path / "run",
            "cache_dir": tmp_path / "cache",
        }
        return EvalSpec(**(values | changes))  # type: ignore[arg-type]

    return make


Spec = Callable[..., EvalSpec]


def only(spec: EvalSpec) -> CellJob:
    (planned,) = make_plan(spec).cells
    assert planned.skip is None
    return planned.job


def test_the_protocol_is_met_by_both_kinds_of_models(
    model: Callable[[str], PublishedModel],
) -> None:
    published: Subject = model("qwen2_5_vl")
    fused: type[Subject] = FusedModel
    assert isinstance(published, PublishedModel)
    assert fused.session is FusedModel.session
    assert hasattr(Session, "append_stream")


def test_a_cell_of_every_class(kind: str, spec: Spec, checkpoint: Folder) -> None:
    job, said = only(spec(kind)), list[str]()
    measures = measure_cell(job, said.append).measures
    assert measures.accuracy is not None
    assert measures.accuracy.scored + measures.accuracy.unparsed == 4
    assert measures.extrapolated is None
    net = load_published(checkpoint(kind), "x").net
    assert measures.parameters == sum(parameter.numel() for parameter in net.parameters())
    memory = memory_of(measures)
    assert memory.peak_bytes > memory.resting_bytes >= measures.parameters * 4
    assert memory.state_bytes["text_kv"] > 0
    images = memory.state_bytes["image_kv"] + memory.state_bytes.get("image_features", 0)
    assert images > 0
    assert measures.prefill_flops is not None
    assert measures.prefill_flops > 0
    assert measures.latency.per_token is not None
    assert measures.attention_routes == ("transformers/sdpa:cpu",)
    streamed = kind != "mllama"
    assert (measures.latency.per_frame is not None) == streamed
    assert any("no time per frame" in line for line in said) == (not streamed)


def test_one_frame_is_a_cell_too(kind: str, spec: Spec) -> None:
    assert memory_of(measure_cell(only(spec(kind, frames=(1,))), print).measures).peak_bytes > 0


def test_the_key_names_the_checkpoint_and_the_job_survives_its_file(spec: Spec, checkpoint: Folder) -> None:
    job = only(spec("smolvlm"))
    expected = {"checkpoint": "smolvlm", "times": "own", "choices": True}
    assert (job.key.method, job.key.method_config) == (METHOD, expected)
    assert job.key.backbone.startswith("smolvlm@")
    assert len(job.key.weights) == 16
    assert job.weights_path == job.backbone_path == checkpoint("smolvlm")
    assert CellJob.from_json(job.to_json()) == job
    assert method_label(job.key) == "smolvlm"
    other = only(spec("smolvlm", methods=(MethodSpec.parse("published:times=none"),)))
    assert other.key.digest != job.key.digest
    assert method_label(other.key) == "smolvlm:times=none"


def test_random_weights_follow_from_the_seed(spec: Spec) -> None:
    plan = make_plan(spec("qwen2_5_vl", weights="random", seeds=(0, 1)))
    assert [planned.skip for planned in plan.cells] == [None, None]
    assert {planned.key.weights for planned in plan.cells} == {"random"}
    assert memory_of(measure_cell(plan.cells[1].job, print).measures).peak_bytes > 0


def test_what_makes_no_sense_is_skipped_with_the_reason(spec: Spec) -> None:
    methods = MethodSpec.parse_list(["casa,published"])
    plan = make_plan(spec("mllama", methods=methods, seeds=(0, 1)))
    skipped = {(planned.key.method, planned.key.seed): planned.skip for planned in plan.cells}
    assert skipped[METHOD, 0] is None
    assert "own fusion; leave out --methods" in str(skipped["casa", 0])
    assert "one set of weights" in str(skipped[METHOD, 1])
    fused = {"backbones": ("tiny-qwen3",), "weights": "random", "resolutions": ((64, 64),)}
    plan = make_plan(spec("mllama", methods=methods, **fused))
    assert "tiny-qwen3 is none; give --backbone hub:ORG/NAME" in str(plan.cells[1].skip)


def test_settings_are_checked(spec: Spec) -> None:
    with pytest.raises(UsageError, match=r"unknown setting .* of method 'published'"):
        make_plan(spec("mllama", methods=(MethodSpec.parse("published:time=own"),)))


def test_other_commands_name_the_right_one(checkpoint: Folder) -> None:
    from harness.backbones import resolve

    with pytest.raises(UsageError, match="`harness eval` measures"):
        resolve(str(checkpoint("qwen3_vl")))
    with pytest.raises(UsageError, match="`harness eval` measures"):
        resolve("hub:org/name")


def test_out_of_memory_is_a_result(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmolVLM, "run", lambda self, chunk, state: torch.empty(1 << 60))
    outcome, _ = attempt(only(spec("smolvlm")), MEASURE, print)
    assert isinstance(outcome, Failed)
    assert outcome.failure == "out_of_memory"


def test_logits_that_are_not_numbers_are_a_result(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = Mllama.logits
    monkeypatch.setattr(Mllama, "logits", lambda self, h_rd: logits(self, h_rd) * float("nan"))
    outcome, _ = attempt(only(spec("mllama")), MEASURE, print)
    assert isinstance(outcome, Failed)
    assert outcome.failure == "non_finite"


@torch.inference_mode()
def test_a_prefill_leaves_nothing_but_its_state(
    kind: str, model: Callable[[str], PublishedModel], frames: tuple[Frame, ...]
) -> None:
    loaded = model(kind)
    pixels = torch.stack([torch.from_numpy(frame.pixels) for frame in frames])
    load = Workload(
        model=loaded, stream=Stream(frames), features=loaded.encode(pixels), question="what digit is red ?"
    )
    load.prefill(loaded.session())
    counted = count_prefill(load, granule=1)
    kinds = counted.at_peak()
    assert set(kinds) - {"state"} == {"parameters", "input", "temporaries"}
    assert sum(kinds.values()) == counted.peak_bytes
    session = loaded.session()
    load.prefill(session)
    hidden = int(loaded.family.text_config.hidden_size) * 8
    outlived = counted.live_bytes - counted.resting_bytes - sum(session.state_bytes().values())
    # A windowed layer of transformers keeps its window's length as a tensor.
    assert outlived - hidden in (0, 3 * 8)
