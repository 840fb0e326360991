"""mllama against a whole text model of ``transformers``, and its groups of images and rows without any."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaForCausalLM

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion_impls.mllama import Mllama, MllamaConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.parts.gates import GatedBlock

from ..parts.eager import MLLAMA_GATED, disturb, renamed, under, with_sdpa
from ..parts.models import VOCABULARY, Shown, llama, shown, stream
from .conftest import Pair, use_exact_norms
from .streams import in_double, seeds, spans_from
from .test_casa import some

Build = Callable[..., Pair]
WIDTH, INNER, CROSS = 24, 40, (1, 4)
MASKED = torch.finfo(torch.float64).min
items = st.one_of(
    st.tuples(st.just("text"), st.integers(1, 3)),
    st.tuples(st.just("frame"), st.integers(1, 4)),
)


def text_model() -> MllamaForCausalLM:
    """Layers 1 and 4 of six are cross-attention, so they stand before the own layers 1 and 3."""
    config = MllamaTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
        cross_attention_layers=list(CROSS),
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model: MllamaForCausalLM = MllamaForCausalLM(with_sdpa(config)).train(False)
    use_exact_norms(model)
    disturb(model.double())
    return model


def as_mllama(model: MllamaForCausalLM, config: MllamaConfig) -> tuple[Decoder, Mllama]:
    """Our decoder with the model's self-attention layers, our method with its cross-attention layers."""
    state = model.state_dict()
    own = [number for number in range(6) if number not in CROSS]
    text = {}
    for key, value in state.items():
        found = re.match(r"model\.layers\.(\d+)\.(.*)", key)
        if found is None:
            text[key] = value[:VOCABULARY] if "embed_tokens" in key else value
        elif int(found[1]) in own:
            text[f"model.layers.{own.index(int(found[1]))}.{found[2]}"] = value
    decoder = llama(text, width=WIDTH, inner=INNER, layers=4, heads=4, kv=2, theta=5e5)
    fusion = Mllama(config, decoder).double()
    for slot, number in enumerate(CROSS):
        gated = renamed(under(state, f"model.layers.{number}."), MLLAMA_GATED)
        fusion.gated[slot].load_state_dict(gated)
    return decoder, fusion


def blind_to_none(model: MllamaForCausalLM, rows_t1: Tensor) -> None:
    """Let the cross-attention give 0 in rows that see no image, as Meta's own implementation does."""

    def mask(module: nn.Module, inputs: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        return output[0] * rows_t1, output[1]

    for number in CROSS:
        model.model.layers[number].cross_attn.register_forward_hook(mask)


@torch.no_grad()
def their_logits(model: MllamaForCausalLM, seen: Shown) -> Tensor:
    lengths = torch.tensor([len(frame) for frame in seen.frames])
    allowed = seen.sees.repeat_interleave(lengths, dim=1)
    rows = allowed.any(dim=1, keepdim=True)
    bias = torch.zeros(allowed.shape, dtype=torch.float64).masked_fill(~allowed & rows, MASKED)
    hidden = model.model(
        input_ids=seen.ids[None],
        cross_attention_states=torch.cat(seen.frames)[None],
        cross_attention_mask=bias[None, None],
        full_text_row_masked_out_mask=rows[None, None].double(),
        use_cache=False,
    ).last_hidden_state[0]
    # The head apart: the model's own logits are cast to float32.
    return model.lm_head(hidden)  # type: ignore[no-any-return]


@some
@given(seed=seeds, plan=st.lists(items, max_size=7))
@pytest.mark.parametrize("group", ["consecutive", "same_time"])
def test_its_logits_equal_the_text_model_of_transformers(
    group: str, seed: int, plan: list[tuple[str, int]]
) -> None:
    """On streams that begin with an image, so that every row sees one. With ``same_time`` the mask that
    ``transformers`` is given says the same."""
    model = text_model()
    decoder, fusion = as_mllama(model, MllamaConfig(group=group))  # type: ignore[arg-type]
    sample = stream(seed, [("frame", 3), *plan, ("text", 2)], WIDTH)
    theirs = their_logits(model, shown(sample.prefix, times=group == "same_time"))
    ours = decoder.logits(fusion.run([sample], decoder)[0])
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


def test_text_before_the_first_image_differs_from_transformers_by_the_uniform_attention_only() -> None:
    model = text_model()
    decoder, fusion = as_mllama(model, MllamaConfig())
    sample = stream(
        3, [("text", 3), ("frame", 2), ("frame", 3), ("text", 2), ("frame", 1), ("text", 2)], WIDTH
    )
    seen = shown(sample.prefix, times=False)
    ours = decoder.logits(fusion.run([sample], decoder)[0])
    uniform = their_logits(model, seen)
    blind_to_none(model, seen.sees.any(dim=1, keepdim=True).double())
    torch.testing.assert_close(ours, their_logits(model, seen), atol=1e-9, rtol=0)
    assert (ours - uniform).abs().amax(dim=1).min() > 1e-3


def test_text_without_an_image_runs_the_backbone_alone(build: Build) -> None:
    decoder, fusion = build("mllama")
    _, insertion = build("token_insertion")
    sample = in_double(spans_from(2, [("text", 4)]))
    ours, alone = (method.run([sample], decoder)[0] for method in (fusion, insertion))
    torch.testing.assert_close(ours, alone, atol=1e-12, rtol=0)


def test_a_frame_keeps_its_keys_until_a_later_group_is_seen(build: Build) -> None:
    """Frames of several times are one group until text comes between; with same_time the last time is."""
    row = 2 * 1 * 2 * 24 * 8  # keys and values, one cross-attention layer, K/V heads, head width, float64
    first, second, third = (FrameSpan(torch.randn(n, 96), float(n)) for n in (4, 5, 6))
    spans: tuple[Span, ...] = (first, second, TextSpan(torch.tensor([7])), third)
    for group, tokens in (("consecutive", [4, 9, 9, 6]), ("same_time", [4, 5, 5, 6])):
        decoder, fusion = build("mllama", group=group)
        state = fusion.new_state()
        for span, expected in zip(spans, tokens, strict=True):
            fusion.run([in_double((span,))], decoder, state)
            assert state.bytes_by_kind()["image_kv"] == expected * row


def test_it_starts_as_in_transformers(build: Build) -> None:
    """Gates at 0, norms at 1, linear layers drawn with the backbone's standard deviation."""
    decoder, _ = build("token_insertion")
    fusion = Mllama(MllamaConfig(every=1), decoder)
    for block in fusion.gated:
        assert isinstance(block, GatedBlock)
        for name, parameter in block.named_parameters():
            if name in ("gate", "ffn_gate"):
                assert parameter.tolist() == [0.0]
            elif "norm" in name:
                assert torch.equal(parameter, torch.ones_like(parameter))
            else:
                # At least 2,304 draws: the estimate's standard error is below 1.5 %.
                assert parameter.std().item() == pytest.approx(decoder.config.initializer_range, rel=0.1)


@pytest.mark.parametrize("every", [0, 4])
def test_settings_that_make_no_sense_are_refused(build: Build, every: int) -> None:
    with pytest.raises(UsageError, match=f"every={every}"):
        build("mllama", every=every)


def test_a_branch_sees_the_prefix_groups(build: Build) -> None:
    """Two frames of different times at the end of a prefix are both seen by every question."""
    decoder, fusion = build("mllama")
    spans = in_double((TextSpan(torch.tensor([2])), *(FrameSpan(torch.randn(3, 96), t) for t in (0.0, 1.0))))
    questions = (TextSpan(torch.tensor([5, 6])), TextSpan(torch.tensor([8])))
    asked, _ = fusion.run([PackedSample(spans.prefix, questions)], decoder)
    for number in (1, 2):
        changed = list(spans.prefix)
        changed[number] = FrameSpan(torch.randn(3, 96).double(), float(number - 1))
        other, _ = fusion.run([PackedSample(tuple(changed), questions)], decoder)
        change = (other - asked).abs().amax(dim=1)
        assert change[0] == 0
        assert change[1:].min() > 0
