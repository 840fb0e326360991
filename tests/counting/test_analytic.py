"""What methods declare by arithmetic against what is counted, and what happens where the two differ."""

from __future__ import annotations

from io import StringIO

import pytest

from harness import registry
from harness.cli.counted_table import print_counted
from harness.counting.analytic import phase_of
from harness.counting.records import Counted, CountRecord, Mode, NotCounted
from harness.counting.run import count, scenarios
from harness.counting.spec import CountSpec
from harness.declared import Chunk, Kept, Seen, Sizes
from harness.fusion import FusionMethod
from harness.fusion_impls import vanilla_ca
from harness.fusion_impls.token_insertion import TokenInsertion
from harness.settings import to_text
from harness.spec import MethodSpec

registry.discover()
TRAINING_MARGIN = 0.05
"""Attention's backward pass computes scores again; the connector's inputs need no gradient."""
SETTINGS: list[dict[str, object]] = [
    {"gists": 0, "keys": "image"},
    {"gists": 1, "keys": "image", "placement": "before", "pooled_gists": 2},
    {"parameters": "shared", "windows": 2},
    {"parameters": "shared", "positions": "nope", "gists": 0},
    {"parameters": "shared", "placement": "before", "image_updates": "ffn"},
    {"parameters": "shared", "placement": "replace", "every": 2, "windows": "all"},
    {"placement": "replace", "keys": "image", "gists": 0},
    {"every": 3, "window_size": 2, "pooled_gists": 8, "windows": 3},
    {"image_updates": "attention", "windows": 2, "window_size": 1, "gists": 0},
    {"image_updates": "both", "gists": 0},
]
OTHERS: list[tuple[str, dict[str, object]]] = [
    ("flamingo", {"every": 1, "resampler_heads": 2, "activation": "swiglu", "ffn_factor": 2}),
    ("hyper_attention", {"fusion": "one_softmax", "layers": (1, 2), "placeholder": False}),
    ("mllama", {"group": "same_time", "every": 1}),
    ("no_visual_self_attention", {"image_updates": "ffn", "layers": (0, 2)}),
    ("no_visual_self_attention", {"image_updates": "mlp"}),
    ("pruning", {"ranked_by": "prompt", "layer": 1, "ratio": 0.7}),
    ("resampler", {"kind": "qformer", "depth": 3, "heads": 2}),
    ("resampler", {"heads": 4, "kv_heads": 2, "depth": 2}),
    ("streaming_eviction", {"sinks": 2, "text_window": 4, "frames": 2}),
]
ALL = [
    *(pytest.param(MethodSpec(name), id=name) for name in registry.methods),
    *(pytest.param(MethodSpec("casa", c), id="+".join(map(to_text, c.values()))) for c in SETTINGS),
    *(pytest.param(MethodSpec(n, c), id=f"{n}:{'+'.join(map(to_text, c.values()))}") for n, c in OTHERS),
]


def counted(
    method: MethodSpec, modes: tuple[Mode, ...], frames: int, size: tuple[int, int], text: int, turn: int
) -> list[CountRecord]:
    """One method's scenarios in some modes; ``turn`` text tokens follow every frame."""
    return count(
        CountSpec(
            methods=(method,),
            modes=modes,
            frames=(frames,),
            resolutions=(size,),
            text=text,
            text_per_frame=turn,
        )
    )


def expect_as_declared(record: CountRecord) -> None:
    assert isinstance(record.outcome, Counted), record.outcome
    peak, training = record.outcome.peak, record.key.mode == "train"
    found, declared, where = peak.counted, peak.analytic, f"{record.key.mode}, {record.key.frames} frames"
    assert declared is not None
    assert found.flops is not None
    assert found.bytes_moved is not None
    assert declared.flops is not None
    assert declared.bytes_moved is not None
    assert found.kv_bytes == declared.kv_bytes, f"{where}: {peak.state_bytes}"
    off = abs(found.flops - declared.flops)
    assert off <= (TRAINING_MARGIN * declared.flops if training else 0), where
    assert found.bytes_moved > declared.bytes_moved, where


@pytest.mark.parametrize("method", ALL)
def test_counted_costs_are_those_declared(method: MethodSpec) -> None:
    for record in (
        *counted(method, ("prefill", "decode", "stream"), frames=4, size=(32, 64), text=3, turn=2),
        *counted(method, ("prefill", "stream"), frames=3, size=(32, 32), text=40, turn=0),
        *counted(method, ("stream",), frames=1, size=(64, 64), text=1, turn=1),
    ):
        expect_as_declared(record)


@pytest.mark.parametrize("name", registry.methods)
def test_a_training_step_is_about_three_forward_passes(name: str) -> None:
    (record,) = counted(MethodSpec(name), ("train",), frames=2, size=(32, 64), text=8, turn=0)
    expect_as_declared(record)
    assert record.peak is not None
    assert record.peak.counted.kv_bytes == 0


def test_long_text_runs_in_pieces_where_its_reach_is_bounded() -> None:
    method = MethodSpec("casa", {"window_size": 40, "windows": 2})
    for record in counted(method, ("prefill", "decode"), frames=2, size=(32, 32), text=90, turn=50):
        expect_as_declared(record)


def test_one_row_of_helium_takes_112_kib() -> None:
    """28 layers, 8 key/value heads of 128, keys and values of 2 bytes: the figure of CASA's appendix."""
    sizes = Sizes(
        layers=28, width=2048, heads=16, kv_heads=8, head_width=128, inner=8192, ffn=3 * 2048 * 8192
    )
    method = TokenInsertion.__new__(TokenInsertion)
    assert 2 * method.keeps(Seen(before=1), sizes).total == 112 * 1024
    work = method.computes(Chunk(Seen(), Seen(before=1)), sizes)
    # A row's pair with itself: 2 products of 2 operations per number of the heads' width.
    assert work.flops == 2 * work.weights + 28 * 4 * 2048


def test_a_declaration_that_promises_too_little_fails_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = TokenInsertion.keeps

    def less(self: TokenInsertion, seen: Seen, sizes: Sizes) -> Kept:
        kept = declared(self, seen, sizes)
        return Kept(text=kept.text, image=kept.image * 10 // 11)

    monkeypatch.setattr(TokenInsertion, "keeps", less)
    (record,) = counted(MethodSpec("token_insertion"), ("prefill",), 2, (64, 64), 1, 0)
    assert isinstance(record.outcome, NotCounted)
    assert record.outcome.traceback is None
    for words in ("token_insertion keeps ", "where its declaration says ", "2% apart", "image_kv "):
        assert words in record.outcome.message


def test_frames_that_are_not_dropped_fail_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vanilla_ca, "drop_past_windows", lambda *_: None)
    (record,) = counted(MethodSpec("vanilla_ca"), ("stream",), 4, (64, 64), 1, 1)
    assert isinstance(record.outcome, NotCounted)
    assert "the cache holds what it should not" in record.outcome.message


def test_two_percent_are_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = TokenInsertion.keeps

    def a_little_less(self: TokenInsertion, seen: Seen, sizes: Sizes) -> Kept:
        kept = declared(self, seen, sizes)
        return Kept(text=kept.text, image=kept.image * 99 // 100)

    monkeypatch.setattr(TokenInsertion, "keeps", a_little_less)
    (record,) = counted(MethodSpec("token_insertion"), ("prefill",), 2, (64, 64), 1, 0)
    assert record.peak is not None
    assert record.peak.analytic is not None
    assert record.peak.counted.kv_bytes > record.peak.analytic.kv_bytes


def test_without_a_declaration_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenInsertion, "keeps", FusionMethod.keeps)
    (record,) = counted(MethodSpec("token_insertion"), ("prefill",), 1, (32, 32), 1, 0)
    assert record.peak is not None
    assert record.peak.analytic is None


def test_what_is_kept_may_be_declared_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenInsertion, "computes", FusionMethod.computes)
    (record,) = counted(MethodSpec("token_insertion"), ("prefill",), 1, (32, 32), 1, 0)
    assert record.peak is not None
    assert record.peak.analytic is not None
    assert record.peak.analytic.kv_bytes == record.peak.counted.kv_bytes
    assert (record.peak.analytic.flops, record.peak.analytic.bytes_moved) == (None, None)


def test_the_table_shows_counted_over_declared() -> None:
    out = StringIO()
    print_counted(counted(MethodSpec("vanilla_ca"), ("prefill",), 1, (32, 32), 1, 0), out)
    assert out.getvalue().count("1.0000") == 2
    assert "moved / least" in out.getvalue()


@pytest.mark.parametrize("turn", [0, 3])
@pytest.mark.parametrize("mode", ["prefill", "decode", "train"])
def test_the_chunks_of_a_scenario_end_with_the_whole_stream(mode: Mode, turn: int) -> None:
    spec = CountSpec(methods=(MethodSpec("casa"),), modes=(mode,), frames=(5,), text=7, text_per_frame=turn)
    (key,) = scenarios(spec)
    phase = phase_of(key, tokens=4)
    assert phase.end.text == 1 + 5 * turn + 7 + (mode == "decode")
    assert (phase.end.frames, phase.end.images) == (5, 20)
