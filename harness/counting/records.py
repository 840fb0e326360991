"""The schema of counted memory: which scenario was counted, and what came of it.

Bytes are integers; no data is ``None``, never 0; unknown fields are refused. A schema change raises
``COUNT_SCHEMA``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.records import Environment

COUNT_SCHEMA: Final = 1

Mode = Literal["prefill", "decode", "stream", "train"]
Kernels = Literal["cuda", "cuda-math", "cpu"]
Substrate = Literal["meta", "cpu"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CountKey(_Model):
    """A scenario whose peak is counted. Equal keys mean the same bytes, whatever the machine.

    ``prefill``: ``frames`` frames, ``text_per_frame`` text tokens after each, then ``text`` tokens, in one
    pass up to the first logits. ``decode``: one more token after that. ``stream``: after ``text`` tokens the
    frames come one by one, each with its tokens decoded one by one; the last frame's arrival is counted, and
    the last token's. ``train``: one training step on what prefill sees, the loss over the fixed text.
    """

    mode: Mode
    method: str
    method_config: dict[str, Any]
    backbone: str
    frames: int
    height: int
    width: int
    text: int
    """Tokens of the fixed text: the question at the end, or the start of a stream. The start token comes on
    top."""
    text_per_frame: int
    """Text tokens after every frame; 0 is the regime of fixed text."""
    encode_batch: int
    """Frames that the vision encoder takes at once."""
    dtype: str
    kernels: Kernels
    """Whose attention kernels are counted: those that torch's CUDA build would choose, its math route by
    force, or this CPU's own."""
    optimizer: str | None
    """Of a training step: ``adamw-foreach``, ``adamw-loop`` or ``sgd``; else None."""

    @property
    def digest(self) -> str:
        """16 hex digits that name the scenario."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Alive(_Model):
    """Tensors alive at the peak that one line of code allocated."""

    bytes: int
    count: int
    kind: str
    operator: str
    """The operator that made them, as torch names it; empty for what was there before."""
    shape: tuple[int, ...]
    """Of the largest."""
    dtype: str
    where: str
    """``file.py:line`` of the method's, the harness's or the backbone's code; empty where unknown."""


class Cost(_Model):
    """What a phase takes: bytes of keys and values kept after it, operations, and bytes of memory traffic.

    Counted traffic is what eager execution moves, analytic traffic the least that any does, so their ratio is
    at least 1 (:mod:`harness.counting.analytic`).
    """

    kv_bytes: int
    flops: int | None
    bytes_moved: int | None


class Peak(_Model):
    """What one scenario counted."""

    peak_bytes: int
    """The most bytes live at once: parameters, buffers, inputs, state and everything the phases made."""
    resting_bytes: int
    """Live before: parameters, buffers, inputs, and the state that a later phase starts from."""
    phase: str
    """The phase in which the peak lies."""
    phases: dict[str, int]
    """Each phase's own peak: encode, prefill, frame, token, forward, backward, optimizer."""
    at_peak: dict[str, int]
    """Bytes at the peak by kind; the sum is ``peak_bytes``. Kinds: parameters, buffers, inputs, text_kv,
    image_kv, gist_kv, method_state, gradients, optimizer, activations, temporaries."""
    peak_site: str
    """The operator and line at which the peak was reached."""
    state_bytes: dict[str, int]
    """Kept by the session at the end, by kind."""
    kv_tokens: int
    """Rows of the token stream's cache at the end, images' and gists' among them."""
    parameters: int
    """All parameters of the model, the vision encoder's among them."""
    counted: Cost
    analytic: Cost | None
    """The same from the method's declaration and the config; None where the method declares nothing."""
    routes: tuple[str, ...]
    """Which kernels attention ran through, as ``route/kernel``."""
    alive: tuple[Alive, ...]
    """The largest at the peak, grouped by line."""
    substrate: Substrate
    """Tensors without storage (meta), or real ones (cpu)."""
    reason: str | None
    """Why real tensors were used although none were asked for: the operation and line that needs values."""


class Counted(_Model):
    """The scenario was counted."""

    kind: Literal["ok"] = "ok"
    peak: Peak


class NotCounted(_Model):
    """It was not: the cause in one line, and the traceback where there is one."""

    kind: Literal["failed"] = "failed"
    message: str
    traceback: str | None = None


CountOutcome = Annotated[Counted | NotCounted, Field(discriminator="kind")]


class CountRecord(_Model):
    """One scenario and its outcome."""

    schema_version: Literal[1] = COUNT_SCHEMA
    key: CountKey
    environment: Environment
    cpu_seconds: float
    outcome: CountOutcome

    @property
    def peak(self) -> Peak | None:
        return self.outcome.peak if isinstance(self.outcome, Counted) else None
