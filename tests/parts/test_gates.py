"""Gated cross-attention blocks against ``transformers``' Idefics and mllama, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import IdeficsConfig
from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaCrossAttentionDecoderLayer

from harness.attention import Block, Pattern
from harness.parts.attention import FeedForward, Heads, OwnAttention, rms_norm
from harness.parts.gates import GatedBlock

from ..fusion.conftest import use_exact_norms
from .eager import IDEFICS_GATED, MLLAMA_GATED, Renames, disturb, renamed, with_sdpa

WIDTH, INNER, ROWS, KEYS, BLIND = 24, 40, 5, 6, 2
MASKED = torch.finfo(torch.float64).min


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    h, y = (
        torch.randn(n, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (ROWS, KEYS)
    )
    return h, y


def allowed() -> Tensor:
    """The first rows see nothing, the next ones half of the keys, the last row all."""
    mask = torch.zeros(ROWS, KEYS, dtype=torch.bool)
    mask[BLIND:, : KEYS // 2] = True
    mask[-1] = True
    return mask


def pattern() -> Pattern:
    some, every = np.arange(KEYS // 2), np.arange(KEYS)
    blocks = [Block(np.arange(BLIND, ROWS - 1), some, False), Block(np.array([ROWS - 1]), every, False)]
    return Pattern(blocks, ROWS, KEYS, torch.device("cpu"))


def gated_block(kv: int, qk_norms: bool, state: dict[str, Tensor], names: Renames) -> GatedBlock:
    norm = rms_norm(1e-5)
    attention = OwnAttention(WIDTH, Heads(4, kv, 6), qk_norm=norm if qk_norms else None)
    block = GatedBlock(WIDTH, attention, FeedForward(WIDTH, INNER, "swiglu"), norm).double()
    block.load_state_dict(
        {k: v.reshape(1) if k.endswith("gate") else v for k, v in renamed(state, names).items()}
    )
    return block


def ours(block: GatedBlock, h: Tensor, y: Tensor, rows: Tensor | None = None) -> Tensor:
    k, v = block.attention.keys(y), block.attention.values(y)
    return block.feed(block.attend(h, k, v, pattern()), rows)


@pytest.mark.parametrize("qk_norms", [False, True])
def test_it_equals_idefics(qk_norms: bool) -> None:
    config = IdeficsConfig(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_attention_heads=4,
        rms_norm_eps=1e-5,
        vision_config={"embed_dim": WIDTH},
        qk_layer_norms=qk_norms,
    )
    layer = IdeficsGatedCrossAttentionLayer(with_sdpa(config), layer_idx=0)
    use_exact_norms(layer)
    disturb(layer.double())
    block = gated_block(4, qk_norms, layer.state_dict(), IDEFICS_GATED)
    h, y = inputs()
    bias = torch.zeros(ROWS, KEYS, dtype=torch.float64).masked_fill(~allowed(), MASKED)
    theirs = layer(
        h[None],
        image_hidden_states=y[None],
        image_attention_mask=bias[None, None],
        cross_attention_gate=allowed().any(dim=1)[None].double(),
    )[0]
    here = ours(block, h, y)
    torch.testing.assert_close(here, theirs, atol=1e-10, rtol=0)
    for mine, other in zip(
        torch.autograd.grad(here.sin().sum(), (h, y)),
        torch.autograd.grad(theirs.sin().sum(), (h, y)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0)


def test_it_equals_mllama_in_rows_that_see_an_image() -> None:
    """``transformers`` lets the others attend uniformly to all images; here they pass unchanged."""
    config = MllamaTextConfig(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
    )
    layer = MllamaCrossAttentionDecoderLayer(with_sdpa(config), layer_idx=0)
    use_exact_norms(layer)
    disturb(layer.double())
    block = gated_block(2, True, layer.state_dict(), MLLAMA_GATED)
    h, y = inputs()
    sees = allowed().any(dim=1, keepdim=True)
    bias = torch.zeros(ROWS, KEYS, dtype=torch.float64).masked_fill(~allowed() & sees, MASKED)
    theirs = layer(
        h[None],
        cross_attention_states=y[None],
        cross_attention_mask=bias[None, None],
        attention_mask=None,
        full_text_row_masked_out_mask=sees[None, None].double(),
    )[0]
    here = ours(block, h, y, sees.double())
    torch.testing.assert_close(here[BLIND:], theirs[BLIND:], atol=1e-10, rtol=0)
    assert torch.equal(here[:BLIND], h[:BLIND])
    assert (theirs[:BLIND] - h[:BLIND]).abs().min() > 0


def test_a_new_block_changes_nothing() -> None:
    block = GatedBlock(
        WIDTH, OwnAttention(WIDTH, Heads(4, 4, 6)), FeedForward(WIDTH, INNER, "squared_relu"), rms_norm(1e-5)
    ).double()
    h, y = inputs()
    assert torch.equal(ours(block, h, y), h)
