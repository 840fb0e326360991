"""Our decoder with the weights of a whole ``transformers`` model, and what both are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig

from harness.backbones.decoder import Decoder, causal_lm
from harness.layout import FrameSpan, PackedSample, Span, TextSpan

from ..fusion.conftest import use_exact_norms

VOCABULARY = 50


def llama(
    state: Mapping[str, Tensor], *, width: int, inner: int, layers: int, heads: int, kv: int, theta: float
) -> Decoder:
    """A Llama decoder in float64 with the entries of ``state`` that are named as Llama's."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        tie_word_embeddings=False,
    )
    lm = causal_lm(config).double()
    lm.load_state_dict(state)
    decoder = Decoder(config, lm)
    use_exact_norms(decoder)
    return decoder


@dataclass(frozen=True)
class Shown:
    """A stream as text ids [T], frames' tokens, and each text row's visible frames [T, F]."""

    ids: Tensor
    frames: list[Tensor]
    sees: Tensor


def shown(spans: Sequence[Span], *, times: bool) -> Shown:
    """Which frames each text token sees: the last group without text in it, of one time stamp with
    ``times``."""
    ids: list[int] = []
    frames: list[Tensor] = []
    rows: list[set[int]] = []
    group: set[int] = set()
    before: Span | None = None
    for span in spans:
        if isinstance(span, TextSpan):
            ids.extend(span.ids.tolist())
            rows.extend([set(group)] * len(span.ids))
        else:
            joins = isinstance(before, FrameSpan) and (not times or before.time_s == span.time_s)
            group = {*group, len(frames)} if joins else {len(frames)}
            frames.append(span.tokens.double())
        before = span
    sees = torch.tensor([[frame in row for frame in range(len(frames))] for row in rows], dtype=torch.bool)
    return Shown(torch.tensor(ids), frames, sees)


def stream(seed: int, plan: Sequence[tuple[str, int]], width: int) -> PackedSample:
    """Spans from ("text", length) and ("frame", tokens) items; a frame with an odd number of tokens comes a
    second later than the one before."""
    generator = torch.Generator().manual_seed(seed)
    spans: list[Span] = []
    time_s = 0.0
    for what, number in plan:
        if what == "text":
            spans.append(TextSpan(torch.randint(1, VOCABULARY, (number,), generator=generator)))
        else:
            time_s += number % 2
            tokens = torch.randn(number, width, generator=generator, dtype=torch.float64)
            spans.append(FrameSpan(tokens, time_s))
    return PackedSample(tuple(spans))
