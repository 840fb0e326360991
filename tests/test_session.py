"""Sessions of every registered method on the shipped encoder: what is computed, what is kept, what is
refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import registry
from harness.attention import Route, using
from harness.backbones.decoder import Projections
from harness.errors import UsageError
from harness.layout import FrameSpan
from harness.models import build_model
from harness.stream import Frame, Stream, Text
from harness.vlm import FusedModel, NonFiniteError

registry.discover()
METHODS = tuple(registry.methods)


@pytest.fixture(scope="module", params=METHODS)
def model(request: pytest.FixtureRequest) -> FusedModel:
    return build_model(request.param, {}, "tiny-qwen3", seed=0)


def picture(seed: int, time_s: float = 0.0, side: int = 32) -> Frame:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Frame(pixels, time_s)


QUESTION = Text("which digit is red now ?")


def test_a_conversation_over_a_live_stream(model: FusedModel) -> None:
    session = model.session()
    for second in range(3):
        session.append(picture(second, time_s=float(second)))
        session.append(QUESTION)
        assert isinstance(session.generate(2), str)
    assert session.state_bytes()["text_kv"] > 0


@pytest.mark.parametrize("side", [16, 64])
def test_streaming_equals_one_shot_at_every_image_size(model: FusedModel, side: int) -> None:
    frames = [picture(seed, time_s=float(seed), side=side) for seed in range(3)]
    live = model.session()
    for frame in frames:
        live.append(frame)
    live.append(QUESTION)
    pixels = torch.from_numpy(np.stack([frame.pixels for frame in frames]))
    whole = model.session()
    whole.append_spans(model.spans(Stream((*frames, QUESTION)), model.encode(pixels))[1:])
    # Single precision: the order of summation differs between the two.
    torch.testing.assert_close(live.next_logits(), whole.next_logits(), atol=2e-4, rtol=1e-4)


def test_a_decoding_step_computes_nothing_of_images(
    model: FusedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every projection of a decoding step has one row, the new token's."""
    session = model.session()
    session.append(picture(1))
    session.append(QUESTION)
    seen: list[int] = []

    def counting(real: Callable[[Projections, Tensor], Tensor]) -> Callable[[Projections, Tensor], Tensor]:
        def project(self: Projections, x_td: Tensor) -> Tensor:
            seen.append(len(x_td))
            return real(self, x_td)

        return project

    monkeypatch.setattr(Projections, "values", counting(Projections.values))
    session.step()
    assert seen
    assert max(seen) == 1


def test_a_stream_without_images_and_one_of_a_single_token(model: FusedModel) -> None:
    assert torch.isfinite(model.session().next_logits()).all()
    session = model.session()
    session.append(QUESTION)
    assert isinstance(session.generate(1), str)


def test_an_image_without_text_after_it_cannot_answer(model: FusedModel) -> None:
    session = model.session()
    session.append(QUESTION)
    session.append(picture(1))
    with pytest.raises(UsageError, match="ends with an image"):
        session.generate(1)
    with pytest.raises(UsageError, match="ends with an image"):
        session.fork().step()
    session.append(Text("now"))
    assert torch.isfinite(session.next_logits()).all()


def test_more_images_than_the_limit_are_refused_and_nothing_is_lost() -> None:
    model = build_model("casa", {"max_images": 2}, "tiny-qwen3", seed=0)
    session = model.session()
    for second in range(2):
        session.append(picture(second, time_s=float(second)))
    session.append(QUESTION)
    before = session.next_logits().clone()
    with pytest.raises(UsageError, match="3 images, but casa is set to max_images=2"):
        session.append(picture(9, time_s=9.0))
    assert torch.equal(session.next_logits(), before)
    session.append(Text("now"))


def test_a_size_that_the_encoder_refuses(model: FusedModel) -> None:
    session = model.session()
    with pytest.raises(UsageError, match=r"40.*16"):
        session.append(picture(1, side=40))


def test_pixels_that_are_not_numbers_are_named() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.float32)
    pixels[0, :2, 0] = np.nan
    with pytest.raises(UsageError, match="2 NaN or infinite values"):
        Frame(pixels, 0.0)  # type: ignore[arg-type]  # what a user may pass by mistake


@pytest.mark.parametrize("pixels", [torch.zeros(16, 16, 3), [[0]]])
def test_pixels_that_are_no_numpy_array_are_named(pixels: object) -> None:
    with pytest.raises(UsageError, match=r"type (Tensor|list).*numpy"):
        Frame(pixels, 0.0)  # type: ignore[arg-type]  # what a user may pass by mistake


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), "1"])
def test_a_time_that_is_no_finite_number_is_refused(model: FusedModel, time_s: float) -> None:
    with pytest.raises(UsageError, match="finite number"):
        picture(1, time_s=time_s)
    with pytest.raises(UsageError, match="finite number"):
        model.session().append_features(torch.zeros(4, model.encoder.width), time_s)


def test_a_frame_of_an_earlier_time_is_refused_and_nothing_is_lost(model: FusedModel) -> None:
    session = model.session()
    session.append(picture(1, time_s=5.0))
    session.append(QUESTION)
    before = session.next_logits().clone()
    for late in (session, session.fork()):
        with pytest.raises(UsageError, match=r"1\.0 s follows one at 5\.0 s"):
            late.append(picture(2, time_s=1.0))
        assert torch.equal(late.next_logits(), before)
    session.append(picture(2, time_s=5.0))


def test_plain_strings_are_text_and_other_items_are_refused() -> None:
    model = build_model("casa", {}, "tiny-qwen3", seed=0)
    plain, typed = model.session(), model.session()
    plain.append(QUESTION.text)
    typed.append(QUESTION)
    assert torch.equal(plain.next_logits(), typed.next_logits())
    with pytest.raises(UsageError, match="not ndarray"):
        plain.append(np.zeros((16, 16, 3), dtype=np.uint8))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"item of type str.*Stream\.of"):
        Stream(("red",))  # type: ignore[arg-type]


def test_features_of_another_encoder_are_refused(model: FusedModel) -> None:
    with pytest.raises(UsageError, match=rf"shape \[1, 4, 7\].*{model.encoder.width}"):
        model.session().append_features(torch.zeros(4, 7), 0.0)


def test_features_of_another_precision_are_taken_and_of_another_library_refused() -> None:
    model = build_model("casa", {}, "tiny-qwen3", seed=0)
    features = model.encode(torch.from_numpy(picture(1).pixels)[None])[0].half()
    half, single = model.session(), model.session()
    for session, given in ((half, features), (single, features.float())):
        session.append_features(given, 0.0)
        session.append(QUESTION)
    assert torch.equal(half.next_logits(), single.next_logits())
    with pytest.raises(UsageError, match="features are of type ndarray; give a torch tensor"):
        half.append_features(features.numpy(), 1.0)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_pixels_that_are_a_flipped_view_or_read_only_are_taken() -> None:
    model = build_model("casa", {}, "tiny-qwen3", seed=0)
    flipped = picture(1).pixels[:, ::-1, ::-1]
    fixed = flipped.copy()
    fixed.setflags(write=False)
    logits = []
    for pixels in (flipped, fixed, flipped.copy()):
        session = model.session()
        session.append(Frame(pixels, 0.0))
        session.append(QUESTION)
        logits.append(session.next_logits())
    assert torch.equal(logits[0], logits[2])
    assert torch.equal(logits[1], logits[2])


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", None])
def test_a_number_of_new_tokens_that_is_none_is_refused(number: int) -> None:
    session = build_model("casa", {}, "tiny-qwen3", seed=0).session()
    with pytest.raises(UsageError, match=r"max_new_tokens is .*; give a whole number of at least 1"):
        session.generate(number)


def test_a_text_that_is_no_text_is_refused() -> None:
    session = build_model("casa", {}, "tiny-qwen3", seed=0).session()
    with pytest.raises(UsageError, match="a text is of type int; give a str"):
        session.append_text(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a text is of type NoneType; give a str"):
        Text(None)  # type: ignore[arg-type]


def test_an_empty_text_changes_nothing(model: FusedModel) -> None:
    session = model.session()
    session.append(picture(1))
    session.append(QUESTION)
    before, kept = session.next_logits().clone(), session.state_bytes()
    session.append("")
    session.append_spans(())
    assert torch.equal(session.next_logits(), before)
    assert session.state_bytes() == kept
    session.append(picture(2, time_s=1.0))
    session.append("")
    with pytest.raises(UsageError, match="ends with an image"):
        session.generate(1)


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="casa max_images=-1 is not usable"):
        build_model("casa", {"max_images": -1}, "tiny-qwen3", seed=0)


def test_features_that_are_not_numbers_never_become_an_answer(model: FusedModel) -> None:
    session = model.session()
    features = torch.full((4, model.encoder.width), float("nan"))
    session.append_features(features, 0.0)
    session.append(QUESTION)
    with pytest.raises(NonFiniteError):
        session.next_logits()


def test_image_tokens_of_another_width_are_refused(model: FusedModel) -> None:
    session = model.session()
    with pytest.raises(UsageError, match=r"shape \[4, 95\].*\[tokens, 96\]"):
        session.append_spans([FrameSpan(torch.zeros(4, 95), 0.0)])


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="gists"):
        build_model("casa", {"gist": 2}, "tiny-qwen3", seed=0)


def test_the_reference_route_gives_the_same_answers(model: FusedModel) -> None:
    logits = []
    routes: tuple[Route, ...] = ("blocks", "reference")
    for route in routes:
        with using(route):
            session = model.session()
            session.append(picture(4))
            session.append(QUESTION)
            logits.append(session.next_logits())
    torch.testing.assert_close(logits[0], logits[1], atol=2e-4, rtol=1e-4)
