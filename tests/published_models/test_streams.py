"""What a published model computes as a stream is what its class computes of the whole input."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.measure.counted import storage_bytes
from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.published_models.session import PublishedSession
from harness.stream import Frame, Item, Stream
from tests.backbones.checkpoints import change
from tests.published_models.own import own_inputs, own_logits, own_tokens, text_inputs

Load = Callable[[str], PublishedModel]
Folder = Callable[[str], Path]
QUESTION = "is it red"
CLOSE = 1e-6
"""Norms of some classes compute in float32 also where the model is in float64."""


def items_of(frames: Sequence[Frame]) -> tuple[Item, ...]:
    return (*Stream.of([*frames[:2], "what digit", frames[2]]),)


def encoded(model: PublishedModel, frames: Sequence[Frame]) -> Tensor:
    return model.encode(torch.from_numpy(np.stack([frame.pixels for frame in frames])))


def at_once(model: PublishedModel, frames: Sequence[Frame]) -> PublishedSession:
    session = model.session()
    session.append_stream(Stream(items_of(frames)), encoded(model, frames), QUESTION)
    return session


def test_one_pass_is_the_class_s_own_forward_pass(
    kind: str, model: Load, checkpoint: Folder, frames: tuple[Frame, ...]
) -> None:
    own = own_logits(model(kind).net, own_inputs(kind, checkpoint(kind), frames))
    torch.testing.assert_close(at_once(model(kind), frames).next_logits(), own, rtol=0, atol=CLOSE)
    assert own.abs().max() > 0.1


def test_decoding_is_the_class_s_own_generate(
    kind: str, model: Load, checkpoint: Folder, frames: tuple[Frame, ...]
) -> None:
    session = at_once(model(kind), frames)
    assert [session.step() for _ in range(5)] == own_tokens(
        model(kind).net, own_inputs(kind, checkpoint(kind), frames), 5
    )


def test_text_alone(kind: str, model: Load, checkpoint: Folder) -> None:
    session = model(kind).session()
    session.append_stream(Stream(()), torch.zeros(0, 0, 0), QUESTION)
    own = own_logits(model(kind).net, text_inputs(kind, checkpoint(kind)))
    torch.testing.assert_close(session.next_logits(), own, rtol=0, atol=CLOSE)


def test_item_by_item_is_one_pass(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model(kind)
    session = loaded.session()
    for item in items_of(frames):
        session.append(item)
    session.append_stream(Stream(()), torch.zeros(0, 0, 0), QUESTION)
    torch.testing.assert_close(
        session.next_logits(), at_once(loaded, frames).next_logits(), rtol=0, atol=CLOSE
    )


def test_a_frame_after_computing_continues_the_stream_or_is_refused(
    kind: str, model: Load, frames: tuple[Frame, ...]
) -> None:
    loaded, features = model(kind), encoded(model(kind), frames)
    session = loaded.session()
    session.append_stream(Stream(items_of(frames)[:3]), features[:2])
    assert sum(session.state_bytes().values()) > 0
    if loaded.not_streamed is not None:
        session.append_stream(Stream(frames[2:]), features[2:])
        with pytest.raises(UsageError, match="append all frames at once"):
            session.next_logits()
        return
    session.append_stream(Stream(frames[2:]), features[2:], QUESTION)
    torch.testing.assert_close(
        session.next_logits(), at_once(loaded, frames).next_logits(), rtol=0, atol=CLOSE
    )


def test_a_video_frame_by_frame_is_one_pass(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model(kind)
    video = Stream(tuple(Frame(frame.pixels, 1.5 * (number + 1)) for number, frame in enumerate(frames)))
    session, whole = loaded.session(), loaded.session()
    for frame in video:
        session.append(frame)
    session.append_stream(Stream(()), torch.zeros(0, 0, 0), QUESTION)
    whole.append_stream(video, encoded(loaded, frames), QUESTION)
    torch.testing.assert_close(session.next_logits(), whole.next_logits(), rtol=0, atol=CLOSE)


def test_idefics_without_its_perceiver(checkpoint: Folder, frames: tuple[Frame, ...], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("idefics"), tmp_path / "model"))
    change(folder / "config.json", use_resampler=False)
    loaded = load_published(folder, "x", dtype=torch.float64)
    own = own_logits(loaded.net, own_inputs("idefics", folder, frames))
    torch.testing.assert_close(at_once(loaded, frames).next_logits(), own, rtol=0, atol=CLOSE)


def test_a_class_is_streamed_unless_a_later_frame_changes_earlier_rows(
    kind: str, model: Load, checkpoint: Folder, frames: tuple[Frame, ...]
) -> None:
    """In the class's own forward pass: the one reason not to stream."""
    loaded = model(kind)
    others = (*frames[:2], Frame(255 - frames[2].pixels, 0.0))
    first, second = (
        own_logits(loaded.net, own_inputs(kind, checkpoint(kind), shown), row=0) for shown in (frames, others)
    )
    changed = bool((first - second).abs().max() > CLOSE)
    assert changed == (loaded.not_streamed is not None)


@pytest.mark.gpu
def test_cuda_gives_the_cpu_s_logits(kind: str, checkpoint: Folder, frames: tuple[Frame, ...]) -> None:
    on_cpu, on_cuda = (load_published(checkpoint(kind), "x", device=device) for device in ("cpu", "cuda"))
    expected = at_once(on_cpu, frames).next_logits()
    found = at_once(on_cuda, frames).next_logits().cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_every_visible_frame_changes_the_answer(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model(kind)
    before = at_once(loaded, frames).next_logits()
    changed = Frame(255 - frames[2].pixels, 0.0)
    after = at_once(loaded, (*frames[:2], changed)).next_logits()
    assert (before - after).abs().max() > 1e3 * CLOSE


def test_forks_are_independent(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    session = at_once(model(kind), frames)
    before = session.next_logits()
    other = session.fork()
    for _ in range(3):
        other.step()
    torch.testing.assert_close(session.next_logits(), before, rtol=0, atol=0)
    assert len(other.state) == len(session.state) + 3
    assert sum(other.state_bytes().values()) >= sum(session.state_bytes().values())


def test_bytes_are_those_of_the_tensors(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    session = at_once(model(kind), frames)
    held = storage_bytes(tensor for tensors in session.state_tensors().values() for tensor in tensors)
    by_kind = session.state_bytes()
    assert sum(by_kind.values()) == held
    assert by_kind["text_kv"] > 0
    assert by_kind["image_kv"] + by_kind.get("image_features", 0) > 0


def test_half_precision(kind: str, checkpoint: Folder, frames: tuple[Frame, ...]) -> None:
    loaded = load_published(checkpoint(kind), "half", dtype=torch.bfloat16)
    session = at_once(loaded, frames)
    assert session.next_logits().dtype == torch.bfloat16
    kept = [tensor for tensors in session.state_tensors().values() for tensor in tensors]
    assert {tensor.dtype for tensor in kept} == {torch.bfloat16}


def test_an_image_at_the_end_has_no_answer(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    session = model(kind).session()
    session.append(frames[0])
    with pytest.raises(UsageError, match="append the question"):
        session.next_logits()
