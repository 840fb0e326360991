"""Pruning against FastV's definition, written with masks over all rows instead of fewer rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion import FusionMethod
from harness.fusion_impls.pruning import KEPT, PruningConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.models import build_model
from harness.stream import Frame, Stream, Text
from harness.task import Question, Sample

from .conftest import Pair
from .streams import plans, seeds, spans_from

Build = Callable[..., Pair]
PLAN = [("text", 2), ("frame", 5), ("frame", 2), ("text", 3), ("frame", 4), ("text", 2)]
some = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def as_double(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(FrameSpan(s.tokens.double(), s.time_s) if isinstance(s, FrameSpan) else s for s in spans)


def eager(decoder: Decoder, spans: Sequence[Span], config: PruningConfig) -> tuple[Tensor, Tensor]:
    """Hidden states [R, d] and which rows are kept [R]: dropped rows stay, but nothing attends to them."""
    per_token = config.positions == "one_per_token"
    parts, frame, position = [], [], 0
    positions: list[int] = []
    for number, span in enumerate(spans):
        is_frame = isinstance(span, FrameSpan)
        part = span.tokens if isinstance(span, FrameSpan) else decoder.embed(span.ids)
        parts.append(part)
        frame += [number if is_frame else -1] * len(part)
        steps = not is_frame or per_token
        positions += [position + (n if steps else 0) for n in range(len(part))]
        position += len(part) if steps else 1
    h, frames = torch.cat(parts), torch.tensor(frame)
    rope, alive = decoder.rope(torch.tensor(positions), h), torch.ones(len(h), dtype=torch.bool)
    for i in range(len(decoder.blocks)):
        block = decoder.block(i)
        attention, x = block.attention, block.normed(h)
        q, k, v = attention.queries(x, rope), attention.keys(x, rope), attention.values(x)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        mask = torch.ones(len(h), len(h)).tril().bool() & (alive[None] | torch.eye(len(h)).bool())
        scores = torch.einsum("thd,shd->hts", q, k) * attention.scale
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        out = block.ffn(h + attention.output(torch.einsum("hts,shd->thd", weights, v)))
        h = torch.where(alive[:, None], out, h)
        if i == config.layer - 1:
            alive = survivors(weights.mean(0), frames, config)
    return h, alive


def survivors(weights_ts: Tensor, frames: Tensor, config: PruningConfig) -> Tensor:
    """Which rows a mean attention map keeps."""
    alive = torch.ones(len(frames), dtype=torch.bool)
    images = (frames >= 0).nonzero().flatten()
    by_frame = [(frames == f).nonzero().flatten() for f in sorted({*frames.tolist()} - {-1})]
    together = config.ranked_by == "prompt"
    for group in [images] if together else by_frame:
        if len(group):
            by = len(frames) - 1 if together else int(group[-1])
            count = max(1, round(len(group) * (1 - config.ratio)))
            alive[group] = False
            alive[group[weights_ts[by, group].topk(count).indices]] = True
    return alive


@some
@given(
    seed=seeds,
    plan=plans,
    layer=st.sampled_from([1, 2]),
    ratio=st.sampled_from([0.25, 0.5, 0.9]),
    by_prompt=st.booleans(),
    per_token=st.booleans(),
)
def test_equals_the_definition_with_masks(
    build: Build,
    seed: int,
    plan: list[tuple[str, int]],
    layer: int,
    ratio: float,
    by_prompt: bool,
    per_token: bool,
) -> None:
    config = PruningConfig(
        layer=layer,
        ratio=ratio,
        ranked_by="prompt" if by_prompt else "frame",
        positions="one_per_token" if per_token else "one_per_frame",
    )
    decoder, fusion = build(
        "pruning", layer=layer, ratio=ratio, ranked_by=config.ranked_by, positions=config.positions
    )
    spans = as_double(spans_from(seed, plan))
    h, _ = fusion.run([PackedSample(spans)], decoder)
    torch.testing.assert_close(h, eager(decoder, spans, config)[0], atol=1e-9, rtol=0)


@pytest.mark.parametrize("ranked_by", ["frame", "prompt"])
@pytest.mark.parametrize("positions", ["one_per_frame", "one_per_token"])
def test_without_dropping_is_token_insertion_to_the_bit(build: Build, ranked_by: str, positions: str) -> None:
    spans = as_double(spans_from(3, PLAN))
    question = TextSpan(torch.tensor([9, 8, 7]))
    outputs = [
        fusion.run([PackedSample(spans, (question, question))], decoder)[0]
        for decoder, fusion in (
            build("pruning", ratio=0.0, ranked_by=ranked_by, positions=positions),
            build("token_insertion", positions=positions),
        )
    ]
    assert torch.equal(*outputs)


def rows_computed(decoder: Decoder, fusion: FusionMethod, spans: Sequence[Span]) -> list[int]:
    """How many rows each block's FFN computes."""
    seen: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(len(inputs[0]))

    handles = [decoder.block(i).mlp.register_forward_pre_hook(note) for i in range(len(decoder.blocks))]
    fusion.run([PackedSample(tuple(spans))], decoder)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("ranked_by", ["frame", "prompt"])
def test_later_layers_compute_and_keep_fewer_rows(build: Build, ranked_by: str) -> None:
    """Text of 1 + 2 + 3 + 2 rows; frames of 6, 3 and 5, of which 3, 2 and 2 are kept (a half rounds to even),
    or 7 of 14."""
    decoder, fusion = build("pruning", ranked_by=ranked_by)
    spans = as_double(spans_from(1, PLAN))
    kept = 8 + 7
    assert rows_computed(decoder, fusion, spans) == [22, 22, kept]
    state = fusion.new_state()
    fusion.run([PackedSample(spans)], decoder, state)
    assert [len(t) for t in state.text.tensors()] == [22] * 4
    assert [len(t) for t in state.extra[KEPT].tensors()] == [kept] * 2
    per_row = 2 * 2 * 24 * 8
    assert state.bytes_by_kind() == {
        "text_kv": 3 * 8 * per_row,
        "image_kv": (2 * 14 + kept - 8) * per_row,
        "gist_kv": 0,
    }


def test_a_chunk_that_ends_with_its_frame_ranks_alike_either_way(build: Build) -> None:
    """Frame by frame, the last row of the prompt is the last row of the frame."""
    spans = as_double(spans_from(5, PLAN))
    outputs = []
    for ranked_by in ("frame", "prompt"):
        decoder, fusion = build("pruning", ranked_by=ranked_by)
        state = fusion.new_state()
        outputs.append(torch.cat([fusion.run([PackedSample((s,))], decoder, state)[0] for s in spans]))
    torch.testing.assert_close(*outputs, atol=1e-12, rtol=0)


def asked(count: int) -> Sample:
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), float(t)) for t in range(2)]
    questions = tuple(
        Question(id=str(n), kind="any", prompt=f"what digit is at second {n} ?", answer="1", chance=None)
        for n in range(count)
    )
    return Sample(id="s", stream=Stream((frames[0], Text("what"), frames[1])), questions=questions, group="s")


def test_each_question_is_the_end_of_its_own_prompt() -> None:
    """An answer is that of one pass over stream and question, of which the last token ranks."""
    model = build_model("pruning", {"ranked_by": "prompt"}, "tiny-qwen3", 0)
    sample = asked(3)
    features = model.encode(torch.stack([torch.from_numpy(f.pixels) for f in sample.stream.frames]))
    expected = []
    for question in sample.questions:
        prompt = (*model.spans(sample.stream, features), TextSpan(model.token_ids(question.prompt)))
        last = model.fusion.run([PackedSample(prompt)], model.decoder)[0][-1:]
        expected.append(model.decoder.logits(last)[0])
    seen: list[Tensor] = []
    model.decoder.head.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    answers = model.answer([sample], [features])
    assert answers == [[model.text_of([int(logits.argmax())]) for logits in expected]]
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def test_runs_without_storage(build: Build) -> None:
    decoder, fusion = copy.deepcopy(build("pruning"))
    decoder.to("meta")
    fusion.to("meta")
    spans = [
        FrameSpan(s.tokens.to("meta"), s.time_s) if isinstance(s, FrameSpan) else s
        for s in spans_from(2, PLAN)
    ]
    state = fusion.new_state()
    h, layout = fusion.run([PackedSample(tuple(spans))], decoder, state)
    assert h.is_meta
    assert h.shape == (len(layout.rows), 96)
    assert [len(t) for t in state.extra[KEPT].tensors()] == [15] * 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": 0}, "layer=0"),
        ({"layer": 3}, "give 1 to 2"),
        ({"ratio": 1.0}, "ratio=1.0"),
        ({"ratio": -0.1}, "ratio=-0.1"),
    ],
)
def test_impossible_settings_are_refused(build: Build, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("pruning", **wrong)
