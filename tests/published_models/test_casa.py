"""CASA checkpoints: what a session computes is what the checkpoint's own code computes of the whole input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import registry
from harness.errors import UsageError
from harness.measure import cell
from harness.measure.cell import measure_cell
from harness.measure.counted import storage_bytes
from harness.measure.latency import Repeats, measure_latency
from harness.plan import make_plan
from harness.published_models.families import known_type
from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.published_models.source import locate
from harness.spec import EvalSpec, TaskSpec
from harness.stream import Frame, Stream
from tests.measure.pictures import NAME, Pictures
from tests.measured import memory_of
from tests.published_models.casa_checkpoint import IMAGE_SIZE, write_casa
from tests.published_models.casa_code.configuration_own import OwnConfig
from tests.published_models.casa_own import (
    NOTHING,
    QUESTION,
    authors_loop,
    own_inputs,
    own_logits,
    session_of,
)

CLOSE = 1e-6
KINDS = {
    "helium": ("CASA_Helium1_VL_2B", False),
    "helium_window_text": ("CASA_Helium1_VL_2B", True),
    "qwen": ("CASA_Qwen2_5_VL_3B", False),
}
TOKENS = (IMAGE_SIZE // 28) ** 2
"""Of a frame: patches of 14 pixels, four to a token."""
Load = Callable[[str], PublishedModel]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, own_code: None) -> Path:
    return tmp_path_factory.mktemp("casa")


@pytest.fixture(scope="module")
def folder(root: Path) -> Callable[[str], Path]:
    def find(kind: str) -> Path:
        place = root / kind
        if not place.exists():
            model_type, window_text = KINDS[kind]
            write_casa(place, model_type, window_text=window_text)
        return place

    return find


@pytest.fixture(scope="module")
def model(folder: Callable[[str], Path]) -> Load:
    known: dict[str, PublishedModel] = {}

    def load(kind: str) -> PublishedModel:
        if kind not in known:
            known[kind] = load_published(folder(kind), "x", dtype=torch.float64, trust_remote_code=True)
        return known[kind]

    return load


@pytest.fixture(scope="module")
def frames() -> tuple[Frame, ...]:
    rng = np.random.default_rng(0)
    return tuple(Frame(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), 0.0) for _ in range(3))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_is_the_class_s_own_forward_pass(
    kind: str, at_once: bool, model: Load, frames: tuple[Frame, ...]
) -> None:
    loaded = model(kind)
    contents: list[tuple[Frame | str, ...]] = [
        (frames[0], QUESTION),
        ("what digit", frames[0], QUESTION),
        (frames[0], "what digit", frames[1], "red", frames[2], QUESTION),
        (*frames, QUESTION),
    ]
    for content in contents:
        own = own_logits(loaded, own_inputs(loaded, content))
        found = session_of(loaded, content, at_once).next_logits()
        torch.testing.assert_close(found, own, rtol=0, atol=CLOSE)
        assert own.abs().max() > 0.1


def test_decoding_is_the_class_s_own(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded, content = model(kind), (frames[0], "what digit", frames[1], QUESTION)
    inputs = own_inputs(loaded, content)
    net: Any = loaded.net
    with torch.inference_mode():
        out = net.generate_from_image(**inputs, max_new_tokens=6)
    session = session_of(loaded, content, at_once=False)
    assert [session.step() for _ in range(6)] == out[0, inputs["input_ids"].shape[1] :].tolist()


def test_frame_by_frame_is_the_authors_loop(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    """The loop of their live captioning: one cache, each frame's state begun before it and ended after it."""
    loaded = model(kind)
    session = loaded.session()
    for frame in frames:
        session.append(frame)
    session.append_stream(Stream(()), NOTHING, QUESTION)
    expected = authors_loop(loaded, frames)
    torch.testing.assert_close(session.next_logits(), expected, rtol=0, atol=CLOSE)


def test_only_the_current_frame_is_seen_besides_the_text(model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model("helium")
    assert loaded.not_streamed is None
    session = session_of(loaded, (*frames, QUESTION), at_once=True)
    (width, layers) = (loaded.family.config.hidden_size, loaded.family.config.num_hidden_layers)
    by_kind = session.state_bytes()
    assert by_kind["image_kv"] == 2 * layers * TOKENS * width * 8
    assert by_kind["text_kv"] == 2 * layers * len(session.state) * width * 8
    held = storage_bytes(tensor for tensors in session.state_tensors().values() for tensor in tensors)
    assert sum(by_kind.values()) == held
    one = session_of(loaded, (frames[0], QUESTION), at_once=True)
    assert one.state_bytes()["image_kv"] == by_kind["image_kv"]


def test_sessions_in_turn_do_not_disturb_each_other(
    kind: str, model: Load, frames: tuple[Frame, ...]
) -> None:
    loaded = model(kind)
    contents = [(frame, "what digit", QUESTION) for frame in frames]
    alone = [session_of(loaded, content, at_once=False).next_logits() for content in contents]
    sessions = [loaded.session() for _ in contents]
    for place in range(2):
        for session, content in zip(sessions, contents, strict=True):
            session.append(content[place])
    for session, expected in zip(sessions, alone, strict=True):
        session.append_stream(Stream(()), NOTHING, QUESTION)
        torch.testing.assert_close(session.next_logits(), expected, rtol=0, atol=0)


def test_forks_are_independent(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model(kind)
    watched = loaded.session()
    watched.append(frames[0])
    other = watched.fork()
    other.append_stream(
        Stream((frames[1],)), loaded.encode(torch.from_numpy(frames[1].pixels)[None]), "what digit"
    )
    forked = watched.fork()
    for session in (watched, forked):
        session.append_stream(Stream(()), NOTHING, QUESTION)
        expected = session_of(loaded, (frames[0], QUESTION), at_once=False).next_logits()
        torch.testing.assert_close(session.next_logits(), expected, rtol=0, atol=0)


def test_a_dropped_session_leaves_nothing_in_the_modules(model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model("helium")
    session = session_of(loaded, (frames[0], QUESTION), at_once=True)
    blocks: Any = loaded.net.blocks
    assert blocks[0].cross_attention._held is not None
    del session
    assert blocks[0].cross_attention._held is None


def test_half_precision(folder: Callable[[str], Path], frames: tuple[Frame, ...]) -> None:
    loaded = load_published(folder("qwen"), "x", dtype=torch.bfloat16, trust_remote_code=True)
    session = session_of(loaded, (frames[0], QUESTION), at_once=True)
    assert session.next_logits().dtype == torch.bfloat16
    kept = [tensor for tensors in session.state_tensors().values() for tensor in tensors]
    assert {tensor.dtype for tensor in kept} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("CASA_Helium1_VL_2B", "casa_helium1"),
        ("casa_qwen2_5_vl", "casa_qwen2_5_vl"),
        ("CASA_Qwen2_5_VL_3B", "casa_qwen2_5_vl"),
        (OwnConfig.model_type, "casa_helium1"),
        ("CASA_Other", None),
        ("qwen2_5_vl_next", None),
    ],
)
def test_types(model_type: str, expected: str | None) -> None:
    assert known_type(model_type) == expected


def test_a_cell(folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = functools.partial(measure_latency, repeats=Repeats(least=2, most=2))
    monkeypatch.setattr(cell, "measure_latency", few)
    registry.discover()
    known = registry.tasks.names()
    registry.tasks.add(NAME, Pictures, __name__)
    try:
        spec = EvalSpec(
            tasks=(TaskSpec.parse(f"{NAME}:clips=2"),),
            frames=(2,),
            resolutions=((56, 64),),
            backbones=(str(folder("qwen")),),
            trust_remote_code=True,
            out=tmp_path / "run",
            cache_dir=tmp_path / "cache",
        )
        (planned,) = make_plan(spec).cells
        measures = measure_cell(planned.job, print).measures
    finally:
        registry.tasks.keep(known)
    assert measures.accuracy is not None
    assert measures.accuracy.scored + measures.accuracy.unparsed == 4
    assert measures.latency.per_frame is not None
    assert measures.latency.per_token is not None
    assert memory_of(measures).state_bytes["image_kv"] == 2 * 2 * TOKENS * 16 * 4
    assert memory_of(measures).peak_bytes > memory_of(measures).resting_bytes >= measures.parameters * 4


def test_the_code_is_not_imported_unless_trusted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, mark = root / "traced", tmp_path / "imported"
    write_casa(place)
    monkeypatch.setenv("CASA_MARK", str(mark))
    for path in place.glob("*.py"):
        trace = "\nimport os, pathlib\npathlib.Path(os.environ['CASA_MARK']).touch()\n"
        path.write_text(path.read_text() + trace)
    with pytest.raises(UsageError, match=r"brings code of its own .*--trust-remote-code"):
        locate(str(place))
    with pytest.raises(UsageError, match="brings code of its own"):
        load_published(place, "x")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repository, **options: str(place))
    with pytest.raises(UsageError, match="pin it to the commit"):
        locate("hub:kyutai/CASA-Helium1-VL-2B", trust_remote_code=True)
    assert not mark.exists()
    load_published(place, "x", trust_remote_code=True)
    assert mark.exists()
