"""The properties that every fusion method has, in the order in which a fault is best explained: a method that
keeps something on ``self`` breaks several, and that one says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.fusion import FusionMethod
from harness.testing import declarations, forward, sessions
from harness.testing.plans import Plan
from harness.testing.subjects import Subject


@dataclass(frozen=True, slots=True)
class Property:
    """A statement about a method, how it is checked on a stream, and what usually breaks it.

    ``plans`` are streams that take the place of random ones. ``unless`` says why it does not apply to a
    method, or None.
    """

    name: str
    statement: str
    check: Callable[[Subject, Plan], None]
    cause: str
    plans: tuple[str, ...] = ()
    unless: Callable[[FusionMethod], str | None] = lambda fusion: None


def _depends_on_prompt(fusion: FusionMethod) -> str | None:
    return "its rows depend on the end of their chunk" if fusion.prompt_dependent else None


def _depends_on_the_past_only(fusion: FusionMethod) -> str | None:
    return None if fusion.prompt_dependent else "its rows depend on the past only"


def _grows_with_frames(fusion: FusionMethod) -> str | None:
    if fusion.memory.streaming_frames:
        return "streaming memory is declared to grow with frames"
    return None


def _declares_nothing(fusion: FusionMethod) -> str | None:
    return "it declares nothing" if type(fusion).keeps is FusionMethod.keeps else None


_SHORT = ("1:", "1: t0", "1: t1", "1: f3", "1: f1 f2=", "1: t0 f2 t0 | t1", "1: | t1", "1: f2 | t1 t2")

_ALL = (
    Property(
        "runs",
        "a batch of streams with branches runs, one row for each text token",
        forward.runs,
        "lay_out must keep the spans' text, and layer must return a row for each that it was given",
    ),
    Property(
        "precision",
        "it stays in the precision of weights and inputs (float64, bfloat16, float16), in any chunking",
        sessions.precision,
        "a dtype is hard-coded (torch.float32, .float(), torch.zeros without a dtype); take dtype and device "
        "from the inputs",
        plans=("1: t1 t2 f4 f3= t2 f2 t1", "2: f3 t2 f1"),
    ),
    Property(
        "inputs",
        "a pass changes neither its inputs nor the weights",
        sessions.inputs,
        "an operation in place (add_, masked_fill_, x[i] = ...) on a tensor that came from outside",
    ),
    Property(
        "hidden_state",
        "nothing is kept on the method between passes",
        sessions.hidden_state,
        "something is kept on self or in a global; what lives between chunks belongs in a buffer of the "
        "FusionState, what lives between layers in step.carried, step.patterns or step.ropes",
    ),
    Property(
        "short_streams",
        "empty streams, one token and a frame alone run",
        forward.short_streams,
        "a chunk without rows or without frames is not handled",
        plans=_SHORT,
    ),
    Property(
        "finite",
        "logits are finite",
        sessions.finite,
        "a division by a count or a norm that can be zero, or a softmax over no keys",
    ),
    Property(
        "causality",
        "what comes later changes nothing before",
        forward.causality,
        "rows depend on later rows: a block that is not causal, images of a later frame among the keys, or a "
        "mean, norm or top-k over the whole stream",
        unless=_depends_on_prompt,
    ),
    Property(
        "text_before_images",
        "text before the first image sees nothing of it",
        forward.text_before_images,
        "a pattern lets rows see images that come after them, or a softmax runs over no keys, which gives "
        "NaN; a row in no block gets exactly 0 from harness.attention.attend",
    ),
    Property(
        "text_after_images",
        "text after an image depends on it",
        forward.text_after_images,
        "images do not reach the text: no block of a pattern has those rows, or a factor is exactly 0",
    ),
    Property(
        "batch",
        "a batch equals its samples alone",
        forward.batch,
        "samples of a batch see each other: keys that are not told apart by rows.sample, or a mean, norm or "
        "top-k over all rows",
    ),
    Property(
        "branches",
        "a branch equals asking its question alone",
        forward.branches,
        "branches see each other or miss their prefix: keys that are not told apart by rows.branch",
        unless=_depends_on_prompt,
    ),
    Property(
        "streaming",
        "one shot equals streaming in any chunking",
        sessions.streaming,
        "a chunk does not find what came before it: a buffer missing in new_state, not extended in layer, or "
        "dropped too early in finish; or positions, windows or frames that restart with each chunk",
        unless=_depends_on_prompt,
    ),
    Property(
        "forks",
        "a fork leaves its origin alone, and both go on as one that was not forked",
        sessions.forks,
        "a tensor of the state is changed in place, or state is kept outside of its buffers",
    ),
    Property(
        "state_bytes",
        "the bytes that a state counts are those that its tensors keep allocated",
        sessions.state_bytes,
        "the state keeps a view, and with it the whole tensor that it is a part of; clone what is kept",
    ),
    Property(
        "frames_freed",
        "where streaming memory is declared constant in frames, more frames keep no more bytes",
        sessions.frames_freed,
        "frames that nothing sees any more stay in a buffer; drop them in begin, or declare "
        "streaming_frames=1",
        plans=("1:",),
        unless=_grows_with_frames,
    ),
    Property(
        "declared_state",
        "a session keeps what keeps() declares, to the byte",
        declarations.declared_state,
        "a buffer keeps rows that the method's equations do not need, or has them in layers that do not use "
        "them; or keeps() leaves out something: it takes text, frames and layers as they are in the paper",
        plans=declarations.STREAMS,
        unless=_declares_nothing,
    ),
    Property(
        "prompt_dependence",
        "a method that is declared prompt_dependent depends on the end of a chunk",
        sessions.prompt_dependence,
        "prompt_dependent is set where it need not be: without it, all questions share one pass",
        plans=("1: t2 f5 t2 f5 t2 | t2 t3",),
        unless=_depends_on_the_past_only,
    ),
    Property(
        "reference",
        "the fast path equals the same pattern as a dense mask, gradients too",
        forward.reference,
        "a key or query row stands twice in a pattern, or a result depends on how attention is computed",
    ),
    Property(
        "gradients",
        "gradients reach every parameter",
        forward.gradients,
        "a parameter is made but not used, is detached, or is multiplied by exactly 0",
        plans=("1: t2 f4 t2 f5 f3= t3 f2 t1 f3 t2 | t3 t2",),
    ),
    Property(
        "save_and_load",
        "a state dict holds everything that a pass needs",
        sessions.save_and_load,
        "a tensor made at random is neither a parameter nor a buffer; use nn.Parameter or register_buffer",
    ),
)

PROPERTIES: dict[str, Property] = {item.name: item for item in _ALL}
"""Every property by name."""
