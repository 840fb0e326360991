"""The resampler against token insertion of latents that are computed frame by frame from the equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from harness.errors import UsageError
from harness.fusion_impls.resampler import ResamplerInsertion
from harness.layout import FrameSpan, Kind, PackedSample, TextSpan
from harness.parts.perceiver import Perceiver

from ..parts.eager import latents_of
from .conftest import Pair
from .streams import in_double, plans, question, seeds, spans_from
from .test_casa import some

Build = Callable[..., Pair]
VARIANTS: Sequence[dict[str, object]] = (
    {},
    {"depth": 2, "heads": 6, "positions": "one_per_token"},
    {"kind": "qformer", "depth": 3},
)
variants = pytest.mark.parametrize("setting", VARIANTS, ids=["perceiver", "perceiver 2", "qformer"])


def latents(fusion: ResamplerInsertion, y_nd: Tensor) -> Tensor:
    """One frame's latents; the Q-Former on the frame alone, since ``tests/parts`` compare it itself."""
    if isinstance(fusion.resampler, Perceiver):
        return latents_of(fusion.resampler, y_nd, "swiglu")
    return fusion.resampler(y_nd, np.array([len(y_nd)]))  # type: ignore[no-any-return]


@some
@given(seed=seeds, plan=plans)
@variants
def test_it_inserts_each_frames_latents(
    build: Build, setting: dict[str, object], seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, fusion = build("resampler", **setting)
    assert isinstance(fusion, ResamplerInsertion)
    _, insertion = build("token_insertion", positions=fusion.c.positions)
    sample = replace(in_double(spans_from(seed, plan)), branches=(question(seed, 3), question(seed + 1, 2)))
    exchanged = tuple(
        replace(span, tokens=latents(fusion, span.tokens)) if isinstance(span, FrameSpan) else span
        for span in sample.prefix
    )
    ours, layout = fusion.run([sample, sample], decoder)
    theirs, _ = insertion.run([replace(sample, prefix=exchanged)] * 2, decoder)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    frames = sum(isinstance(span, FrameSpan) for span in sample.prefix)
    assert (layout.rows.kind == Kind.IMAGE).sum() == 2 * frames * fusion.c.latents


@variants
def test_a_session_keeps_latents_whatever_the_size_of_a_frame(
    build: Build, setting: dict[str, object]
) -> None:
    decoder, fusion = build("resampler", latents=5, **setting)
    row = 2 * 3 * 2 * 24 * 8  # keys and values, blocks, K/V heads, head width, float64
    state = fusion.new_state()
    for number, tokens in enumerate((1, 5, 40), start=1):
        fusion.run([in_double((FrameSpan(torch.randn(tokens, 96), float(number)),))], decoder, state)
        assert state.bytes_by_kind()["image_kv"] == number * 5 * row


def test_a_frame_of_another_width_is_refused(build: Build) -> None:
    decoder, fusion = build("resampler")
    with pytest.raises(UsageError, match=r"\[4, 95\]"):
        fusion.run([PackedSample((TextSpan(torch.tensor([2])), FrameSpan(torch.randn(4, 95), 0.0)))], decoder)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"latents": 0}, "latents=0"),
        ({"depth": 0}, "depth=0"),
        ({"ffn_factor": 0}, "ffn_factor=0"),
        ({"heads": 3, "kv_heads": 2}, "heads=3 is no multiple of kv_heads=2"),
        ({"heads": 3}, "heads=3 is no multiple of kv_heads=2"),
        ({"kind": "qformer", "kv_heads": 2}, "kv_heads=2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    build: Build, setting: dict[str, object], names: str
) -> None:
    with pytest.raises(UsageError, match=names):
        build("resampler", **setting)
