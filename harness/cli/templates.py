"""The files that ``harness new`` writes: working code whose names are replaced."""

from __future__ import annotations

FUSION = '''"""TODO: one line that says what example_method does.

Paper: TODO: title, arXiv NNNN.NNNNN, equation N. As it stands, a frame is averaged to ``tokens`` vectors y,
and text attends to those of its window, in layers of its own beside the self-attention:
``h = x + SA(norm x) + CA(norm x)``, then the FFN, with ``CA(x_t) = MHA(x_t | y_1..y_n)``, and 0 for text
before the first frame. TODO: where this deviates from the paper, and why.

Shapes: R rows of the token stream (text), M vectors of the chunk's frames, S those that a session keeps and
the chunk's, H heads, K key/value heads, D head width, d model width.

Memory: a session keeps the text's keys and values, and those of one window's vectors, so at fixed text it
does not grow with frames. TODO: if that changes, ``memory`` below changes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from harness.attention import attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.declared import Chunk, Kept, Seen, Sizes, Work, decoder_work
from harness.fusion import (
    IMAGES,
    FusionConfig,
    FusionMethod,
    MemoryOrder,
    Step,
    check_least,
    describe_images,
    drop_past_windows,
    image_keys,
    kept,
    self_attention,
)
from harness.layout import Cursor, FrameSpan, Layout, PackedSample, Span, lay_out
from harness.parts.window_cost import WindowCost
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import Keys, Visible, window_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleMethodConfig(FusionConfig):
    """``tokens``: how many vectors a frame is averaged to; TODO: the paper's value."""

    tokens: int = 4

    def __post_init__(self) -> None:
        check_least("example_method", self, {"tokens": 1})


@register_method("example_method")
class ExampleMethod(FusionMethod):
    summary = "TODO: what it does, in one line"
    paper = "TODO: arXiv NNNN.NNNNN, equation N"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    Config = ExampleMethodConfig

    def __init__(self, config: ExampleMethodConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.tokens = config.tokens
        # Own projections, which start with the values of the self-attention's.
        self.cross = nn.ModuleList(decoder.block(i).attention.copy() for i in range(self.layers))

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        """Frames stay aside, in ``layout.images``; with ``inline=True`` they would be rows of the stream."""
        pooled = [
            replace(sample, prefix=tuple(self._pooled(span) for span in sample.prefix)) for sample in samples
        ]
        return lay_out(pooled, cursors, width=width, positions="aside", inline=False)

    def _pooled(self, span: Span) -> Span:
        if not isinstance(span, FrameSpan):
            return span
        parts = span.tokens.tensor_split(min(self.tokens, len(span.tokens)))
        return FrameSpan(torch.stack([part.mean(dim=0) for part in parts]), span.time_s)

    def new_state(self) -> FusionState:
        """Beside the self-attention's cache, a buffer for the keys and values of images in every layer."""
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(self.layers)})

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The declared memory in numbers: the text, and the vectors of one window, a frame."""
        per_row, frames = sizes.layers * sizes.kv, WindowCost().in_sight(seen.frames)
        return Kept(text=per_row * seen.text, image=per_row * frames * min(self.tokens, seen.tokens))

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Text passes all weights and attends to all text; CA has q and o on text, k and v on vectors."""
        vectors = min(self.tokens, chunk.now.tokens)
        of_vectors = Chunk(replace(chunk.past, tokens=vectors), replace(chunk.now, tokens=vectors))
        cross = Work(
            linear=((chunk.text, sizes.to_qo), (chunk.frames * vectors, sizes.to_kv)),
            attention=((WindowCost().row_pairs(of_vectors), sizes.heads_width),),
        )
        return decoder_work(chunk, sizes) + cross.times(sizes.layers)

    def begin(self, step: Step) -> None:
        """Once per chunk: announce its images, say which row sees which, and that past ones are not kept."""
        describe_images(step)
        keys = Keys(image_keys(step))
        blocks = window_blocks(step.layout.rows, keys, Visible())
        step.patterns["window"] = step.pattern(blocks, keys=len(keys))
        drop_past_windows(step, IMAGES)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        x_rd = block.normed(h_rd)
        attended = self_attention(i, block.attention, x_rd, step) + self._cross(i, block, x_rd, step)
        return block.ffn(h_rd + attended)

    def _cross(self, i: int, block: DecoderBlock, x_rd: Tensor, step: Step) -> Tensor:
        """[R, d] to [R, d]: text rows attend to their windows' images, without positions."""
        attention = cast("Projections", self.cross[i])
        y_md = block.normed(step.layout.images.tokens)
        k_skd, v_skd = kept(step, IMAGES, i, attention.keys(y_md, None), attention.values(y_md))
        q_rhd = attention.queries(x_rd, None)
        return attention.output(attend(q_rhd, k_skd, v_skd, step.patterns["window"], attention.scale))
'''

FUSION_TEST = '''"""example_method has what every fusion method has, and what is its own."""

from __future__ import annotations

import pytest
from example_method import ExampleMethod

from harness.errors import UsageError
from harness.models import method_config
from harness.testing import PROPERTIES, check_fusion_method


@pytest.mark.parametrize("name", PROPERTIES)
def test_method_has_property(name: str) -> None:
    check_fusion_method(ExampleMethod, properties=[name])


@pytest.mark.parametrize("settings", [{"tokens": 1}])
def test_other_settings(settings: dict[str, object]) -> None:
    check_fusion_method(ExampleMethod, settings, streams=2)


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="tokens=0"):
        method_config("example_method", {"tokens": 0})
'''

TASK = '''"""TODO: one line that says what example_task shows and asks.

As it stands, a coloured square on noise jumps and takes another colour in every frame, one a second. It is
asked which colour the square has now, and which it had first.

What is drawn of a sample follows from its own seed, pixels last: so the same view shows the same bytes
everywhere, a limit takes the first samples as they are, and another size asks the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.errors import UsageError
from harness.registry import register_task
from harness.stream import Frame, Pixels, Stream
from harness.task import Kind, Question, Sample, SamplesOnDemand, Score, Task, TaskConfig, View, exact_match

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220), "yellow": (230, 200, 50)}
PROMPTS = {"now": "what colour is the square now ?", "first": "what colour was the square first ?"}
KINDS = {
    "now": Kind(description="the colour in the last frame", needs="last_frame"),
    "first": Kind(description="the colour in the first frame", needs="pixel_history", min_frames=2),
}
LEAST_PIXELS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleTaskConfig(TaskConfig):
    """``clips`` in the evaluation; TODO: your own settings (``--task NAME:clips=8``)."""

    clips: int = 64

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UsageError(f"clips={self.clips} leaves nothing to evaluate; give 1 or more")


@register_task("example_task")
class ExampleTask(Task):
    # Raised whenever a prompt, a frame or a score changes: results of two versions are never joined.
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "TODO: what is shown and asked, in one line"
    licence: ClassVar[str] = "TODO: of the media"
    source: ClassVar[str] = "TODO: where the media come from"
    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    max_new_tokens: ClassVar[int] = 1
    Config = ExampleTaskConfig

    config: ExampleTaskConfig

    def check_view(self, view: View) -> None:
        """What cannot be shown is refused before anything is measured."""
        if min(view.height, view.width) < LEAST_PIXELS:
            raise UsageError(
                f"a square cannot be seen at {view.height}x{view.width}; give at least {LEAST_PIXELS} pixels"
            )

    def samples(self, view: View) -> Sequence[Sample]:
        """The evaluation: each sample is made when it is asked for, and only one is in memory."""
        count = self.config.clips if view.limit is None else min(view.limit, self.config.clips)
        return SamplesOnDemand(
            count, lambda index: _sample(f"clip-{index}", np.random.default_rng([index, view.seed]), view)
        )

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        """Fresh samples for `harness train`; without this method the task is for evaluation alone."""
        return [_sample(f"train-{index}", own, view) for index, own in enumerate(rng.spawn(count))]

    def score(self, prediction: str, question: Question) -> Score:
        """TODO: a pure function of both; give Score(status="unparsed") for what is no answer."""
        return exact_match(prediction, question)

    def vocabulary(self) -> frozenset[str]:
        """Every word, for the small reference models: their tokenizer knows those of its tasks alone."""
        return frozenset(word for text in (*COLOURS, *PROMPTS.values()) for word in text.split())


def _sample(name: str, rng: np.random.Generator, view: View) -> Sample:
    colours = [list(COLOURS)[i] for i in rng.integers(len(COLOURS), size=view.frames)]
    places = rng.random((view.frames, 2))
    frames = [
        Frame(_drawn(rng, colour, place, view), float(second))
        for second, (colour, place) in enumerate(zip(colours, places.tolist(), strict=True))
    ]
    truths = {"now": colours[-1], "first": colours[0]}
    questions = tuple(
        Question(
            id=f"{name}-{kind}",
            kind=kind,
            prompt=PROMPTS[kind],
            answer=answer,
            chance=1 / len(COLOURS),
            choices=tuple(COLOURS),
            # What an answer is worth that looks at nothing, or at the last frame only.
            oracles={"blind": "red", "last_frame": colours[-1]},
        )
        for kind, answer in truths.items()
        if view.frames >= KINDS[kind].min_frames
    )
    # A group is what is drawn independently: intervals are over groups. ``media`` is kept with the answers.
    media = {"colours": colours}
    return Sample(id=name, stream=Stream.of(frames), questions=questions, group=name, media=media)


def _drawn(rng: np.random.Generator, colour: str, place: Sequence[float], view: View) -> Pixels:
    """uint8 [height, width, 3]."""
    pixels = rng.integers(0, 60, (view.height, view.width, 3), dtype=np.uint8)
    side = min(view.height, view.width) // 3
    top, left = (int(share * (whole - side)) for share, whole in zip(place, pixels.shape[:2], strict=True))
    pixels[top : top + side, left : left + side] = COLOURS[colour]
    return pixels
'''

TASK_TEST = '''"""example_task has what every task has, and what is its own."""

from __future__ import annotations

import pytest
from example_task import ExampleTask

from harness.errors import UsageError
from harness.task import View
from harness.testing import TASK_PROPERTIES, check_task


@pytest.mark.parametrize("name", TASK_PROPERTIES)
def test_task_has_property(name: str) -> None:
    check_task(ExampleTask, properties=[name])


def test_questions_are_about_what_is_shown() -> None:
    view = View(frames=3, height=32, width=32, limit=1)
    (sample,) = ExampleTask().samples(view)
    colours = sample.media["colours"]
    assert isinstance(colours, list)
    assert {one.kind: one.answer for one in sample.questions} == {"now": colours[-1], "first": colours[0]}


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="clips=0"):
        ExampleTask.Config(clips=0)
'''
