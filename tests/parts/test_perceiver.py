"""The Perceiver resampler against ``transformers``' Idefics and Idefics2, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import IdeficsConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics2.configuration_idefics2 import Idefics2PerceiverConfig
from transformers.models.idefics2.modeling_idefics2 import Idefics2PerceiverResampler

from harness.parts.attention import Heads, layer_norm, rms_norm
from harness.parts.perceiver import Perceiver, PerceiverShape

from ..fusion.conftest import use_exact_norms
from .eager import IDEFICS_PERCEIVER, disturb, frames_of, latents_of, renamed, with_sdpa

WIDTH, LATENTS = 24, 3
LENGTHS = np.array([5, 1, 5, 2])


def tokens() -> Tensor:
    return torch.randn(
        int(LENGTHS.sum()), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )


def per_frame(module: nn.Module, y_md: Tensor) -> Tensor:
    """``transformers``' module on each frame alone: [F L, d]."""
    return torch.cat([module(frame[None])[0] for frame in frames_of(y_md, LENGTHS)])


@pytest.mark.parametrize("qk_norms", [False, True])
def test_it_equals_idefics(qk_norms: bool) -> None:
    config = IdeficsConfig(
        vision_config={"embed_dim": WIDTH}, perceiver_config={"qk_layer_norms_perceiver": qk_norms}
    )
    theirs = IdeficsPerceiverResampler(config, WIDTH, depth=2, n_heads=3, head_dim=6, n_latents=LATENTS)
    shape = PerceiverShape(
        latents=LATENTS,
        depth=2,
        heads=Heads(3, 3, 6),
        inner=4 * WIDTH,
        activation="relu",
        norm=layer_norm(1e-5),
        qk_norm=layer_norm(1e-5) if qk_norms else None,
    )
    ours = Perceiver(WIDTH, shape, spread=1.0).double()
    disturb(theirs.double())
    ours.load_state_dict(renamed(theirs.state_dict(), IDEFICS_PERCEIVER))
    torch.testing.assert_close(ours(tokens(), LENGTHS), per_frame(theirs, tokens()), atol=1e-10, rtol=0)


def test_it_equals_idefics2() -> None:
    config = Idefics2PerceiverConfig(
        hidden_size=WIDTH,
        resampler_n_latents=LATENTS,
        resampler_depth=2,
        resampler_n_heads=4,
        resampler_head_dim=6,
        num_key_value_heads=2,
    )
    theirs = Idefics2PerceiverResampler(with_sdpa(config))
    use_exact_norms(theirs)
    shape = PerceiverShape(
        latents=LATENTS,
        depth=2,
        heads=Heads(4, 2, 6),
        inner=4 * WIDTH,
        activation="swiglu",
        norm=rms_norm(1e-6),
    )
    ours = Perceiver(WIDTH, shape, spread=1.0).double()
    disturb(theirs.double())
    names = (
        (r"input_latents_norm", "latent_norm"),
        (r"input_context_norm", "token_norm"),
        (r"self_attn", "attention"),
        (r"post_attention_layernorm", "ffn_norm"),
        (r"mlp\.(gate|up|down)_proj", r"ffn.\1"),
    )
    ours.load_state_dict(renamed(theirs.state_dict(), names))
    frames = frames_of(tokens(), LENGTHS)
    expected = torch.cat([theirs(frame[None], torch.ones(1, len(frame)))[0] for frame in frames])
    torch.testing.assert_close(ours(tokens(), LENGTHS), expected, atol=1e-10, rtol=0)


def test_it_equals_its_equation_with_squared_relu() -> None:
    shape = PerceiverShape(
        latents=LATENTS,
        depth=3,
        heads=Heads(4, 2, 6),
        inner=WIDTH,
        activation="squared_relu",
        norm=layer_norm(1e-5),
    )
    perceiver = Perceiver(WIDTH, shape, spread=1.0).double()
    disturb(perceiver)
    frames = frames_of(tokens(), LENGTHS)
    expected = torch.cat([latents_of(perceiver, frame, "squared_relu") for frame in frames])
    torch.testing.assert_close(perceiver(tokens(), LENGTHS), expected, atol=1e-10, rtol=0)
