"""What holds for every registered method, on random interleaved streams, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.attention import using
from harness.backbones.decoder import Decoder
from harness.fusion import FusionMethod
from harness.layout import FrameSpan, Kind, PackedSample, Span, TextSpan
from harness.state import FusionState

from .conftest import Pair
from .streams import plans, question, random_batch, seeds, spans_from

TOLERANCE = 1e-9
quick = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def as_double(samples: Sequence[PackedSample]) -> list[PackedSample]:
    def convert(span: Span) -> Span:
        return FrameSpan(span.tokens.double(), span.time_s) if isinstance(span, FrameSpan) else span

    return [PackedSample(tuple(map(convert, sample.prefix)), sample.branches) for sample in samples]


def run(pair: Pair, samples: Sequence[PackedSample]) -> Tensor:
    decoder, fusion = pair
    return decoder.logits(fusion.run(as_double(samples), decoder)[0])


def stream_in_chunks(pair: Pair, spans: Sequence[Span], cuts: Sequence[int]) -> tuple[Tensor, FusionState]:
    """Logits of all rows when the spans arrive in chunks."""
    decoder, fusion = pair
    state = fusion.new_state()
    outputs = []
    bounds = [0, *sorted({c % (len(spans) + 1) for c in cuts}), len(spans)]
    for start, stop in pairwise(bounds):
        if stop > start:
            chunk = as_double([PackedSample(tuple(spans[start:stop]))])
            outputs.append(decoder.logits(fusion.run(chunk, decoder, state)[0]))
    return torch.cat(outputs), state


@pytest.mark.usefixtures("past_only")
@quick
@given(seed=seeds, plan=plans, cuts=st.lists(st.integers(0, 20), max_size=4))
def test_one_shot_equals_streaming_in_any_chunking(
    pair: Pair, seed: int, plan: list[tuple[str, int]], cuts: list[int]
) -> None:
    spans = spans_from(seed, plan)
    whole = run(pair, [PackedSample(spans)])
    chunked, state = stream_in_chunks(pair, spans, cuts)
    one_by_one, other = stream_in_chunks(pair, spans, range(len(spans)))
    torch.testing.assert_close(chunked, whole, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(one_by_one, whole, atol=TOLERANCE, rtol=0)
    assert state.bytes_by_kind() == other.bytes_by_kind()


@quick
@given(seed=seeds)
def test_a_batch_equals_its_rows_alone(pair: Pair, seed: int) -> None:
    batch = random_batch(seed, 3)
    together = run(pair, batch)
    alone = torch.cat([run(pair, [sample]) for sample in batch])
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.usefixtures("past_only")
@quick
@given(seed=seeds, plan=plans, lengths=st.lists(st.integers(1, 4), min_size=2, max_size=3))
def test_a_branch_equals_asking_alone(
    pair: Pair, seed: int, plan: list[tuple[str, int]], lengths: list[int]
) -> None:
    spans = spans_from(seed, plan)
    branches = tuple(question(seed + i, n) for i, n in enumerate(lengths))
    together = run(pair, [PackedSample(spans, branches)])
    alone = [run(pair, [PackedSample((*spans, branch))])[-len(branch.ids) :] for branch in branches]
    torch.testing.assert_close(together[-sum(lengths) :], torch.cat(alone), atol=TOLERANCE, rtol=0)


@pytest.mark.usefixtures("past_only")
@quick
@given(seed=seeds, plan=plans, more=plans)
def test_what_comes_later_changes_nothing_before(
    pair: Pair, seed: int, plan: list[tuple[str, int]], more: list[tuple[str, int]]
) -> None:
    short = spans_from(seed, plan)
    long = spans_from(seed, plan + more)
    before = run(pair, [PackedSample(short)])
    after = run(pair, [PackedSample(long)])[: len(before)]
    torch.testing.assert_close(after, before, atol=TOLERANCE, rtol=0)


def test_what_prompt_dependence_breaks(pair: Pair) -> None:
    """Skipping is justified: each of the claims above is false where a method says so."""
    if not pair[1].prompt_dependent:
        pytest.skip("depends on the past only")
    plan = [("text", 2), ("frame", 5), ("text", 2), ("frame", 5), ("text", 2)]
    claims: list[tuple[Any, dict[str, Any]]] = [
        (test_one_shot_equals_streaming_in_any_chunking, {"plan": plan, "cuts": []}),
        (test_a_branch_equals_asking_alone, {"plan": plan, "lengths": [2, 3]}),
        (test_what_comes_later_changes_nothing_before, {"plan": plan[:3], "more": plan[3:]}),
    ]
    for test, example in claims:
        with pytest.raises(AssertionError, match="not close"):
            test.hypothesis.inner_test(pair, 1, **example)


@quick
@given(seed=seeds)
def test_fast_path_equals_dense_reference_with_gradients(pair: Pair, seed: int) -> None:
    decoder, fusion = pair
    batch = random_batch(seed, 2)
    results = []
    for route in ("blocks", "reference"):
        decoder.zero_grad()
        fusion.zero_grad()
        with using(route):
            logits = run(pair, batch)
        logits.square().mean().backward()  # type: ignore[no-untyped-call]
        parameters = (*decoder.parameters(), *fusion.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        results.append((logits.detach(), gradients))
    torch.testing.assert_close(results[0], results[1], atol=TOLERANCE, rtol=1e-6)


def test_gradients_reach_every_parameter(pair: Pair) -> None:
    decoder, fusion = pair
    decoder.zero_grad()
    fusion.zero_grad()
    spans = spans_from(1, [("text", 2), ("frame", 4), ("text", 2), ("frame", 5)])
    run(pair, [PackedSample(spans, (question(2, 3),))]).square().mean().backward()  # type: ignore[no-untyped-call]
    modules = {"decoder": decoder, "fusion": fusion}
    silent = [
        f"{place}.{name}"
        for place, module in modules.items()
        for name, p in module.named_parameters()
        if p.numel() and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert not silent


@quick
@given(seed=seeds, plan=plans)
def test_counted_state_bytes_are_the_tensors_bytes(
    pair: Pair, seed: int, plan: list[tuple[str, int]]
) -> None:
    _, state = stream_in_chunks(pair, spans_from(seed, plan), range(20))
    tensors = [t for group in state.tensors().values() for t in group]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    assert sum(state.bytes_by_kind().values()) == sum(t.nbytes for t in tensors)
    assert sum(t.nbytes for t in tensors) == sum(storages.values())


def test_a_fork_leaves_its_origin_alone(pair: Pair) -> None:
    decoder, fusion = pair
    state = fusion.new_state()
    first = as_double([PackedSample(spans_from(3, [("frame", 3), ("text", 2)]))])
    fusion.run(first, decoder, state)
    before = state.bytes_by_kind()
    other = state.fork()
    chunk = as_double([PackedSample(spans_from(4, [("frame", 5), ("text", 1)])[1:])])
    forked = fusion.run(chunk, decoder, other)[0]
    assert state.bytes_by_kind() == before
    torch.testing.assert_close(fusion.run(chunk, decoder, state)[0], forked, atol=TOLERANCE, rtol=0)


def image_part(decoder: Decoder, fusion: FusionMethod, spans: Sequence[Span]) -> Tensor:
    """How much the rows' output changes when every image's content changes."""
    changed = [
        FrameSpan(span.tokens + 1.0, span.time_s) if isinstance(span, FrameSpan) else span for span in spans
    ]
    a = fusion.run(as_double([PackedSample(tuple(spans))]), decoder)
    b = fusion.run(as_double([PackedSample(tuple(changed))]), decoder)
    text = torch.from_numpy(a[1].rows.kind == Kind.TEXT)
    return (a[0] - b[0])[text].abs().amax(dim=1)


def test_text_before_the_first_image_sees_nothing_of_it(pair: Pair) -> None:
    spans = [TextSpan(torch.tensor([5, 6, 7])), *spans_from(1, [("frame", 4), ("text", 3)])[1:]]
    change = image_part(*pair, spans)
    assert change[:3].max() == 0
    assert change[3:].min() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_in_any_chunking(pair: Pair, dtype: torch.dtype) -> None:
    decoder, fusion = copy.deepcopy(pair[0]).to(dtype), copy.deepcopy(pair[1]).to(dtype)
    state = fusion.new_state()
    for span in spans_from(1, [("text", 2), ("frame", 4), ("frame", 3), ("text", 2)]):
        if isinstance(span, FrameSpan):
            span = FrameSpan(span.tokens.to(dtype), span.time_s)
        h_rd, _ = fusion.run([PackedSample((span,))], decoder, state)
        assert h_rd.dtype == dtype
    assert torch.isfinite(decoder.logits(h_rd)).all()


def test_empty_and_one_token_streams(pair: Pair) -> None:
    assert torch.isfinite(run(pair, [PackedSample((TextSpan(torch.tensor([2])),))])).all()
    only_frame = run(pair, [PackedSample((FrameSpan(torch.randn(3, 96), 0.0),))])
    assert torch.isfinite(only_frame).all()
