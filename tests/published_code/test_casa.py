"""The published code of CASA checkpoints, where a folder with it is at hand.

Nothing here needs a ``transformers`` newer than that code runs with.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.published_models.casa import Casa
from harness.published_models.casa_check import check_streaming
from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.stream import Frame
from tests.published_models.casa_own import QUESTION, authors_loop, own_inputs, own_logits, session_of

CHECKPOINT = "HARNESS_CASA_CHECKPOINT"
"""Names a folder with a published CASA checkpoint, its code included."""
SIDE = 224
"""Height and width of frames in pixels."""
pytestmark = pytest.mark.skipif(CHECKPOINT not in os.environ, reason=f"{CHECKPOINT} names no folder")


@pytest.fixture(scope="module")
def model() -> PublishedModel:
    """The checkpoint; in half precision on a GPU, which is what its attention kernel takes."""
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    folder = Path(os.environ[CHECKPOINT])
    return load_published(folder, "x", device=device, dtype=dtype, trust_remote_code=True)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    return [Frame(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), 0.0) for _ in range(3)]


def assert_close(found: Tensor, expected: Tensor) -> None:
    limit = 0.05 if expected.dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=limit * float(expected.abs().max()))


def test_a_stream_is_one_pass(model: PublishedModel) -> None:
    assert isinstance(model.family, Casa)
    check_streaming(model.family, SIDE)


def test_frame_by_frame_is_all_at_once_and_the_authors_loop(
    model: PublishedModel, frames: list[Frame]
) -> None:
    streamed = session_of(model, (*frames, QUESTION), at_once=False).next_logits()
    assert_close(streamed, session_of(model, (*frames, QUESTION), at_once=True).next_logits())
    assert_close(streamed, authors_loop(model, frames))


def test_frames_with_text_between_are_one_pass(model: PublishedModel, frames: list[Frame]) -> None:
    content = (frames[0], "what do you see?", frames[1], QUESTION)
    streamed = session_of(model, content, at_once=False).next_logits()
    assert_close(streamed, own_logits(model, own_inputs(model, content)))


def test_decoding_is_the_class_s_own(model: PublishedModel, frames: list[Frame]) -> None:
    content = ("what do you see?", frames[0], QUESTION)
    inputs, net = own_inputs(model, content), cast("Any", model.net)
    with torch.inference_mode():
        out = net.generate_from_image(**inputs, max_new_tokens=8, do_sample=False)
    own = [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]
    session = session_of(model, content, at_once=False)
    assert [session.step() for _ in own] == own
