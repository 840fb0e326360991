"""CASA against its equations: every setting against a dense-mask version, and the identity with token
insertion."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from harness.backbones.decoder import Decoder
from harness.errors import UsageError
from harness.fusion import FusionMethod
from harness.fusion_impls.casa import CASA, CASAConfig
from harness.layout import FrameSpan, Kind, PackedSample, Span
from harness.testing.subjects import BACKBONES, Target

from .casa_equations import dense_casa
from .conftest import Pair
from .streams import in_double, plans, seeds, spans_from

TOLERANCE = 1e-9
Build = Callable[..., Pair]
some = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
BRIDGED: dict[str, object] = {
    "parameters": "shared",
    "keys": "image_text",
    "positions": "one_per_frame",
    "placement": "replace",
    "image_updates": "both",
    "windows": "all",
    "gists": 0,
}
SINGLE_DIFFERENCES: list[dict[str, object]] = [
    {},
    {"parameters": "shared"},
    {"parameters": "shared", "keys": "image", "gists": 0},
    {"parameters": "shared", "positions": "nope"},
    {"keys": "image"},
    {"keys": "image", "gists": 0},
    {"keys": "image", "positions": "aside"},
    {"positions": "one_per_frame"},
    {"positions": "one_per_token"},
    {"window_size": 0},
    {"window_size": 2},
    {"placement": "before"},
    {"placement": "before", "parameters": "shared"},
    {"placement": "replace", "every": 2},
    {"placement": "replace", "every": 3, "window_size": 3, "gists": 0, "pooled_gists": 2},
    {"every": 2},
    {"image_updates": "ffn"},
    {"image_updates": "attention"},
    {"image_updates": "both", "windows": 2, "window_size": 2},
    {"image_updates": "attention", "windows": 2, "gists": 0},
    {"gists": 0},
    {"gists": 4},
    {"gists": 0, "pooled_gists": 1},
    {"gists": 1, "pooled_gists": 2, "window_size": 1},
    {"keys": "image", "gists": 0, "pooled_gists": 3},
    {"gists": 0, "windows": 2},
    {"gists": 0, "windows": 3, "pooled_gists": 2},
    {"gists": 0, "windows": "all"},
    {"parameters": "shared", "gists": 0, "windows": "all"},
]


@some
@given(seed=seeds, plan=plans)
@pytest.mark.parametrize(
    "setting", SINGLE_DIFFERENCES, ids=lambda s: "+".join(f"{k}={v}" for k, v in s.items())
)
def test_every_setting_equals_its_dense_equation(
    build: Build, setting: dict[str, object], seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, fusion = build("casa", **setting)
    assert isinstance(fusion, CASA)
    spans = spans_from(seed, plan)
    fast, _ = fusion.run([in_double(spans)], decoder)
    torch.testing.assert_close(fast, dense_casa(decoder, fusion, spans), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("placement", ["parallel", "before", "replace"])
@pytest.mark.parametrize("parameters", ["own", "shared"])
def test_a_bias_of_the_output_projection_counts_as_often_as_the_projection(
    placement: str, parameters: str
) -> None:
    setting = {"placement": placement, "parameters": parameters, "pooled_gists": 1}
    subject = Target.of("casa", setting).build("llama")
    assert isinstance(subject.fusion, CASA)
    assert subject.decoder.block(0).attention.o_proj.bias is not None
    spans = spans_from(4, [("text", 2), ("frame", 3), ("text", 2), ("frame", 2), ("text", 2)])
    fast, _ = subject.fusion.run([in_double(spans)], subject.decoder)
    wanted = dense_casa(subject.decoder, subject.fusion, spans)
    torch.testing.assert_close(fast, wanted, atol=TOLERANCE, rtol=0)


def logits_and_gradients(
    decoder: Decoder, fusion: FusionMethod, spans: tuple[Span, ...]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Logits of the text rows, and the gradients of the decoder's parameters and the image tokens."""
    decoder.zero_grad()
    sample = in_double(spans)
    images = [span.tokens.requires_grad_() for span in sample.prefix if isinstance(span, FrameSpan)]
    h_rd, layout = fusion.run([sample], decoder)
    text = torch.from_numpy(layout.rows.kind == Kind.TEXT)
    logits = decoder.logits(h_rd[text])
    logits.sin().sum().backward()  # type: ignore[no-untyped-call]
    decoded = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in decoder.parameters()]
    return logits.detach(), decoded, [torch.zeros_like(y) if y.grad is None else y.grad for y in images]


@some
@given(seed=seeds, plan=plans)
@pytest.mark.parametrize("positions", ["one_per_frame", "one_per_token"])
def test_identity_all_differences_bridged_is_token_insertion(
    build: Build, positions: str, seed: int, plan: list[tuple[str, int]]
) -> None:
    spans = spans_from(seed, plan)
    decoder, insertion = build("token_insertion", positions=positions)
    same_decoder, casa = build("casa", **{**BRIDGED, "positions": positions})
    wanted = logits_and_gradients(decoder, insertion, spans)
    torch.testing.assert_close(
        logits_and_gradients(same_decoder, casa, spans), wanted, atol=TOLERANCE, rtol=1e-7
    )


@pytest.mark.parametrize("undone", [key for key in BRIDGED if key != "gists"])
def test_identity_needs_every_bridge(build: Build, undone: str) -> None:
    default = {"windows": 1, "image_updates": "none", "placement": "parallel", "parameters": "own"}
    other = {**default, "keys": "image", "positions": "one_per_token"}
    spans = spans_from(3, [("text", 2), ("frame", 4), ("text", 2), ("frame", 3), ("text", 3)])
    decoder, insertion = build("token_insertion")
    same_decoder, casa = build("casa", **{**BRIDGED, undone: other[undone]})
    wanted = logits_and_gradients(decoder, insertion, spans)[0]
    assert (logits_and_gradients(same_decoder, casa, spans)[0] - wanted).abs().max() > 1e-4


@some
@given(seed=seeds, plan=plans)
def test_vanilla_ca_is_casa_with_image_keys_and_no_history(
    build: Build, seed: int, plan: list[tuple[str, int]]
) -> None:
    decoder, vanilla = build("vanilla_ca")
    same_decoder, casa = build("casa", keys="image", gists=0)
    assert isinstance(casa, CASA)
    casa = CASA(casa.c, same_decoder).double()
    casa.cross.load_state_dict({k.removeprefix("cross."): v for k, v in vanilla.state_dict().items()})
    sample = in_double(spans_from(seed, plan))
    torch.testing.assert_close(casa.run([sample], same_decoder)[0], vanilla.run([sample], decoder)[0])


def test_own_layers_start_from_the_self_attention(build: Build) -> None:
    decoder, _ = build("token_insertion")
    casa = CASA(CASAConfig(every=2), decoder)
    assert list(casa.slots) == [1]
    for name, value in casa.cross[0].state_dict().items():
        assert torch.equal(value, decoder.block(1).attention.state_dict()[name])
    assert 0.01 < float(casa.gist_tokens.detach().std()) < 0.03


def test_every_third_block_replaced_splits_24_blocks_into_16_and_8() -> None:
    text = BACKBONES["llama"]()
    text.num_hidden_layers = 24
    decoder = Decoder(text)
    casa = CASA(CASAConfig(placement="replace", every=3, keys="image"), decoder)
    state = casa.new_state()
    casa.run([PackedSample(spans_from(1, [("frame", 2), ("text", 2)]))], decoder, state)
    attentions = {name: len(tensors) // 2 for name, tensors in state.tensors().items() if tensors}
    assert attentions == {"stream_kv": 16, "image_kv": 8}


def test_text_before_the_first_image_gets_exactly_nothing_from_the_image_part(build: Build) -> None:
    decoder, casa = build("casa", keys="image", gists=0)
    spans = spans_from(5, [("text", 3)])
    plain = spans_from(5, [("text", 3), ("frame", 4), ("text", 1)])
    with torch.no_grad():
        text_only = casa.run([in_double(spans)], decoder)[0]
        before = casa.run([in_double(plain)], decoder)[0][: len(text_only)]
        _, insertion = build("token_insertion")
        assert torch.equal(before, text_only)
        torch.testing.assert_close(text_only, insertion.run([in_double(spans)], decoder)[0])


@pytest.mark.parametrize(
    ("setting", "tokens"),
    [({}, 2), ({"windows": 2}, 8), ({"windows": 2, "image_updates": "attention"}, 12)],
)
def test_images_out_of_sight_are_not_projected(build: Build, setting: dict[str, object], tokens: int) -> None:
    decoder, casa = build("casa", gists=0, **setting)
    spans = spans_from(6, [("frame", 3), ("frame", 5), ("frame", 1), ("text", 2)])
    layout = casa.run([in_double(spans)], decoder)[1]
    assert len(layout.images) == tokens


def streamed(pair: Pair, spans: tuple[Span, ...]) -> dict[str, int]:
    decoder, casa = pair
    state = casa.new_state()
    for span in in_double(spans).prefix:
        casa.run([PackedSample((span,))], decoder, state)
    tensors = [tensor for group in state.tensors().values() for tensor in group]
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    assert sum(held.values()) == sum(state.bytes_by_kind().values())
    return state.bytes_by_kind()


@pytest.mark.parametrize("placement", ["parallel", "before"])
def test_bytes_per_frame_are_those_of_the_history(build: Build, placement: str) -> None:
    """Gist tokens are kept by the self-attention of every block, pooled gists by every CASA layer."""
    row = 2 * 3 * 2 * 24 * 8  # keys and values, blocks, K/V heads, head width, float64
    frames = [("frame", 5)] * 6
    grown: dict[str, dict[str, int]] = {}
    settings: dict[str, dict[str, object]] = {
        "none": {"gists": 0},
        "gists": {"gists": 2},
        "pooled": {"gists": 0, "pooled_gists": 2},
        "images": {"gists": 0, "windows": 3},
    }
    for name, setting in settings.items():
        pair = build("casa", placement=placement, **setting)
        few = streamed(pair, spans_from(1, [*frames, ("text", 1)]))
        many = streamed(pair, spans_from(1, [*frames, *frames, ("text", 1)]))
        grown[name] = {kind: many[kind] - few[kind] for kind in many}
    assert grown["none"] == {"text_kv": 0, "image_kv": 0, "gist_kv": 0}
    assert grown["gists"] == {"text_kv": 0, "image_kv": 0, "gist_kv": 6 * 2 * row}
    assert grown["pooled"] == grown["gists"]
    assert grown["images"] == grown["none"]


def test_shared_projections_keep_their_text_once(build: Build) -> None:
    spans = spans_from(2, [("frame", 3), ("text", 4)])
    own = streamed(build("casa", gists=0), spans)
    shared = streamed(build("casa", gists=0, parameters="shared"), spans)
    # The start token and four more in the self-attention, four in the window where it keeps its own.
    assert shared["text_kv"] * 9 == own["text_kv"] * 5
    assert shared["image_kv"] == own["image_kv"]


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"every": 4}, "every=4 is not usable; there are 3 blocks"),
        ({"every": 0}, "every=0 is not usable; give 1 to 65536"),
        ({"gists": -1}, "gists=-1 is not usable; give 0 to 65536"),
        ({"gists": 10**20}, f"gists={10**20}"),
        ({"pooled_gists": -1}, "pooled_gists=-1"),
        ({"pooled_gists": 10**6}, "pooled_gists=1000000 is not usable; give 0 to 65536"),
        ({"window_size": -1}, "window_size=-1"),
        ({"window_size": 10**6}, "window_size=1000000 is not usable; give 0 to 65536"),
        ({"gist": 2}, r"'gist' of method 'casa': did you mean 'gists'"),
        ({"windowsize": 2}, r"'windowsize' of method 'casa': did you mean 'window_size'"),
        ({"placement": "besides"}, "give one of parallel, before, replace"),
        ({"windows": 0}, "windows=0"),
        ({"windows": 10**6}, "windows=1000000"),
        ({"keys": "image", "window_size": 4}, "window_size"),
        ({"windows": "all", "pooled_gists": 2}, "pooled_gists"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    build: Build, setting: dict[str, object], names: str
) -> None:
    with pytest.raises(UsageError, match=names):
        build("casa", **setting)
