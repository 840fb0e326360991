"""The Q-Former against ``transformers``' BLIP-2, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from harness.parts.attention import Heads
from harness.parts.qformer import QFormer

from .eager import disturb, frames_of, renamed, with_sdpa

WIDTH, LATENTS = 24, 3
LENGTHS = np.array([4, 1, 4])
NAMES = (
    (r"^layernorm", "norm"),
    (r"^encoder\.layer\.", "layers."),
    (r"crossattention\.attention\.(query|key|value)", r"cross.\1"),
    (r"crossattention\.output\.dense", "cross.o_proj"),
    (r"crossattention\.output\.LayerNorm", "cross_norm"),
    (r"attention\.attention\.(query|key|value)", r"attention.\1"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"attention\.output\.LayerNorm", "norm"),
    (r"\.(q)uery\.|\.(k)ey\.|\.(v)alue\.", r".\1\2\3_proj."),
    (r"intermediate_query\.dense", "ffn.up"),
    (r"output_query\.dense", "ffn.down"),
    (r"output_query\.LayerNorm", "ffn_norm"),
)


@pytest.mark.parametrize("depth", [1, 3])
def test_it_equals_blip2(depth: int) -> None:
    """Up to the key biases, which BLIP-2 has and which the softmax takes out again."""
    config = Blip2QFormerConfig(
        hidden_size=WIDTH,
        encoder_hidden_size=WIDTH,
        num_hidden_layers=depth,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
    )
    theirs = Blip2QFormerModel(with_sdpa(config)).double().train(False)
    ours = QFormer(WIDTH, LATENTS, depth, Heads(4, 4, 6), inner=2 * WIDTH, spread=1.0).double()
    disturb(theirs)
    state = renamed(theirs.state_dict(), NAMES)
    loaded = {name: value for name, value in state.items() if not name.endswith("k_proj.bias")}
    assert len(state) - len(loaded) == depth + (depth + 1) // 2
    own = {"latents": ours.latents, **{f"project.{k}": v for k, v in ours.project.state_dict().items()}}
    ours.load_state_dict({**loaded, **own})
    y_md = torch.randn(int(LENGTHS.sum()), WIDTH, dtype=torch.float64)
    expected = torch.cat(
        [
            theirs(query_embeds=ours.latents[None], encoder_hidden_states=frame[None]).last_hidden_state[0]
            for frame in frames_of(y_md, LENGTHS)
        ]
    )
    torch.testing.assert_close(ours.queries(y_md, LENGTHS), expected, atol=1e-10, rtol=0)
    projected = expected @ ours.project.weight.T + ours.project.bias
    torch.testing.assert_close(ours(y_md, LENGTHS), projected, atol=1e-10, rtol=0)
