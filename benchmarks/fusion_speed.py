"""Speed and memory of fusion: windows against a dense mask, token insertion against plain ``transformers``.

*windows*: one forward pass over a stream of frames, each followed by text, through blocks and through the
dense-mask reference: ratio of times, counted peaks, and the order of growth with frames.

*plain*: ``token_insertion`` against the same decoder run by ``transformers`` alone (``inputs_embeds``, sdpa,
a cache): prefill, appending one frame, decoding one token. A speed is reported only where the logits agree.

Only ratios taken side by side in this process are printed. Random weights: times do not depend on them.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3Config

from benchmarks.interleaved import Ratio, Run, compare
from harness import registry
from harness.attention import Route, recording, using
from harness.backbones.decoder import Decoder, causal_lm
from harness.collector import frozen
from harness.fusion import FusionMethod
from harness.fusion_impls.token_insertion import TokenInsertion, TokenInsertionConfig
from harness.layout import FrameSpan, PackedSample, Span, TextSpan
from harness.measure.counted import CountedMemory
from harness.state import FusionState

VOCABULARY = 512
WINDOWED = ("casa", "vanilla_ca", "token_insertion")
MOST_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Largest difference between the two sides' logits, relative to the largest logit."""


class LogitsDifferError(RuntimeError):
    """The two sides do not compute the same, so comparing their speed means nothing."""


@dataclass(frozen=True, slots=True)
class Size:
    """A decoder and a stream: ``frames`` frames of ``tokens`` tokens, each followed by ``words`` of text."""

    name: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ffn: int
    frames: int
    tokens: int
    words: int

    @property
    def rows(self) -> int:
        return self.frames * (self.tokens + self.words)

    def config(self) -> Qwen3Config:
        return Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            intermediate_size=self.ffn,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_width,
            max_position_embeddings=32768,
            tie_word_embeddings=True,
        )

    def spans(self) -> tuple[Span, ...]:
        generator = torch.Generator().manual_seed(0)
        spans: list[Span] = []
        for second in range(self.frames):
            tokens = torch.randn(self.tokens, self.width, generator=generator)
            spans.append(FrameSpan(tokens, float(second)))
            spans.append(TextSpan(torch.randint(VOCABULARY, (self.words,), generator=generator)))
        return tuple(spans)


SIZES = (
    Size("tiny", 96, 4, 3, 3, 32, 256, frames=16, tokens=16, words=4),
    Size("medium", 512, 8, 8, 4, 64, 1536, frames=28, tokens=64, words=8),
    Size("large", 1024, 12, 16, 8, 64, 3072, frames=14, tokens=64, words=8),
)
SMALLEST = Size("smallest", 32, 2, 2, 1, 16, 64, frames=3, tokens=4, words=2)
WINDOWS = Size("windows", 96, 4, 3, 3, 32, 256, frames=0, tokens=16, words=8)
WINDOW_FRAMES = (4, 8, 16, 32, 64, 128, 256)
QUICK_FRAMES = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Effort:
    """Repetitions and seconds that every ratio takes at least."""

    repetitions: int
    least_s: float


def check_logits(ours: Tensor, theirs: Tensor, what: str) -> float:
    """The largest difference relative to the largest logit; raises LogitsDifferError if too large."""
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    most = MOST_DIFFERENCE[ours.dtype]
    if not difference <= most:
        raise LogitsDifferError(
            f"{what}: the logits differ by {difference:.1e} of the largest, over {most:.0e}"
        )
    return difference


def windowed(frames: Sequence[int], effort: Effort) -> dict[str, Any]:
    """Per method and frames: time fast / reference, counted peaks above the weights, their orders."""
    torch.manual_seed(0)
    decoder = Decoder(WINDOWS.config())
    results: dict[str, Any] = {}
    for name in WINDOWED:
        cls = registry.methods.get(name)
        fusion = cls(cls.Config(), decoder)
        points = [_window_point(decoder, fusion, count, effort) for count in frames]
        orders = {
            side: growth_orders([point["peak_bytes"][side] for point in points])
            for side in ("blocks", "reference")
        }
        results[name] = {"points": points, "memory_order": orders}
    return results


def _window_point(decoder: Decoder, fusion: FusionMethod, frames: int, effort: Effort) -> dict[str, Any]:
    batch = [PackedSample(replace(WINDOWS, frames=frames).spans())]

    def through(route: Route) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with using(route):
                return decoder.logits(fusion.run(batch, decoder)[0][-1:])

        return run

    fast, reference = through("blocks"), through("reference")
    difference = check_logits(fast(), reference(), f"{fusion.name}, {frames} frames")
    peaks = {}
    for name, run in (("blocks", fast), ("reference", reference)):
        with CountedMemory() as memory:
            run()
        peaks[name] = memory.peak_bytes
    ratio = compare(lambda: fast, lambda: reference, effort.least_s, effort.repetitions)
    return {"frames": frames, "difference": difference, "time": ratio.as_json(), "peak_bytes": peaks}


def growth_orders(values: Sequence[int]) -> list[float]:
    """Orders of growth from values at n, 2n, 4n, ...: log2((M(4n) - M(2n)) / (M(2n) - M(n))).

    Differences take out what does not grow: 1 is linear, 2 quadratic.
    """
    steps = [b - a for a, b in itertools.pairwise(values)]
    return [math.log2(b / a) if a > 0 and b > 0 else math.nan for a, b in itertools.pairwise(steps)]


class Plain:
    """The decoder as ``transformers`` runs it."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.lm.set_attn_implementation("sdpa")
        self.embed: torch.nn.Embedding = self.lm.model.embed_tokens

    def embedded(self, spans: Sequence[Span]) -> Tensor:
        parts = [self.embed(span.ids) if isinstance(span, TextSpan) else span.tokens for span in spans]
        return torch.cat(parts)[None]

    def run(self, spans: Sequence[Span], cache: DynamicCache) -> Tensor:
        """The last row's logits [1, V]."""
        output = self.lm(
            inputs_embeds=self.embedded(spans), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return cast("Tensor", output.logits[0])

    def fork(self, cache: DynamicCache) -> DynamicCache:
        """A cache that continues alone; appending makes new tensors, so storage is shared."""
        forked = copy.copy(cache)
        forked.layers = [copy.copy(layer) for layer in cache.layers]
        return forked


def plain(size: Size, dtype: torch.dtype, effort: Effort) -> dict[str, Any]:
    """Token insertion / ``transformers`` for prefill, append and decode; the logits agree."""
    torch.manual_seed(0)
    config = size.config()
    lm = causal_lm(config).to(dtype).eval()
    decoder, theirs = Decoder(config, lm), Plain(lm)
    fusion = TokenInsertion(TokenInsertionConfig(positions="one_per_token"), decoder)
    spans = _in_dtype(size.spans(), dtype)
    # A stream is appended to and decoded from step after step: what is timed is not the first step.
    stages = {
        "prefill": ((), spans),
        "append": ((spans[:-4], spans[-4:-2]), spans[-2:-1]),
        "decode": ((spans, _one_token()), _one_token()),
    }
    results: dict[str, Any] = {}
    for stage, (before, chunk) in stages.items():
        state, cache = fusion.new_state(), DynamicCache(config=config)
        for part in before:
            fusion.run([PackedSample(part)], decoder, state)
            theirs.run(part, cache)
        ours_run = _ours(fusion, decoder, state, chunk)
        theirs_run = _theirs(theirs, cache, chunk)
        with recording() as routes:
            mine = ours_run()()
        difference = check_logits(
            cast("Tensor", mine), cast("Tensor", theirs_run()()), f"{size.name}, {stage}"
        )
        ratio = compare(ours_run, theirs_run, effort.least_s, effort.repetitions)
        results[stage] = {"difference": difference, "routes": sorted(routes), "time": ratio.as_json()}
    return results


def _ours(
    fusion: FusionMethod, decoder: Decoder, state: FusionState, chunk: tuple[Span, ...]
) -> Callable[[], Run]:
    def prepare() -> Run:
        forked = state.fork()
        return lambda: decoder.logits(fusion.run([PackedSample(chunk)], decoder, forked)[0][-1:])

    return prepare


def _theirs(model: Plain, cache: DynamicCache, chunk: tuple[Span, ...]) -> Callable[[], Run]:
    def prepare() -> Run:
        forked = model.fork(cache)
        return lambda: model.run(chunk, forked)

    return prepare


def _in_dtype(spans: tuple[Span, ...], dtype: torch.dtype) -> tuple[Span, ...]:
    return tuple(
        FrameSpan(span.tokens.to(dtype), span.time_s) if isinstance(span, FrameSpan) else span
        for span in spans
    )


def _one_token() -> tuple[Span, ...]:
    return (TextSpan(torch.tensor([3])),)


def windows_table(results: dict[str, Any]) -> str:
    lines = [
        "| method | frames | time, blocks / dense mask | counted peak above weights, blocks | dense mask |",
        "|---|---|---|---|---|",
    ]
    for method, result in results.items():
        for point in result["points"]:
            blocks, dense = (point["peak_bytes"][side] / 2**20 for side in ("blocks", "reference"))
            time = Ratio(**point["time"])
            lines.append(f"| {method} | {point['frames']} | {time} | {blocks:.2f} MiB | {dense:.2f} MiB |")
    lines += ["", "| method | order of the peak's growth with frames, blocks | dense mask |", "|---|---|---|"]
    for method, result in results.items():
        orders = (
            ", ".join(f"{order:.2f}" for order in result["memory_order"][side])
            for side in ("blocks", "reference")
        )
        lines.append(f"| {method} | " + " | ".join(orders) + " |")
    return "\n".join(lines)


def plain_table(results: dict[str, Any]) -> str:
    lines = [
        "| decoder | dtype | rows | prefill | append a frame | decode a token |",
        "|---|---|---|---|---|---|",
    ]
    for result in results.values():
        cells = [str(Ratio(**result["stages"][stage]["time"])) for stage in ("prefill", "append", "decode")]
        lines.append(
            f"| {result['size']} | {result['dtype']} | {result['rows']} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def run_plain(sizes: Sequence[Size], dtypes: Sequence[torch.dtype], effort: Effort) -> dict[str, Any]:
    return {
        f"{size.name}, {dtype}": {
            "size": size.name,
            "dtype": str(dtype).removeprefix("torch."),
            "rows": size.rows,
            "stages": plain(size, dtype, effort),
        }
        for size in sizes
        for dtype in dtypes
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fusion_speed", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="smallest sizes: shows that it works, not a speed"
    )
    parser.add_argument("--part", choices=("both", "windows", "plain"), default="both")
    parser.add_argument(
        "--sizes", default=",".join(size.name for size in SIZES), help="decoders of part plain"
    )
    parser.add_argument("--repetitions", type=int, default=10, help="least repetitions of every ratio")
    parser.add_argument("--seconds", type=float, default=8.0, help="least seconds of every ratio")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    registry.discover()
    effort = Effort(2, 0.0) if options.quick else Effort(options.repetitions, options.seconds)
    frames = QUICK_FRAMES if options.quick else WINDOW_FRAMES
    names = options.sizes.split(",")
    sizes = (SMALLEST,) if options.quick else tuple(size for size in SIZES if size.name in names)
    results: dict[str, Any] = {}
    with torch.inference_mode(), frozen():
        if options.part != "plain":
            results["windows"] = windowed(frames, effort)
        if options.part != "windows":
            results["plain"] = run_plain(sizes, (torch.float32, torch.bfloat16), effort)
    if options.json:
        print(
            json.dumps(
                {**vars(options), "torch": torch.__version__, "machine": platform.machine(), **results}
            )
        )
        return
    if "windows" in results:
        print(windows_table(results["windows"]), end="\n\n")
    if "plain" in results:
        print("token_insertion / transformers, median [quartiles] of repetitions, processor time\n")
        print(plain_table(results["plain"]))


if __name__ == "__main__":
    main()
