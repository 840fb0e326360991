"""The schema of results: what a cell is, and what came of it.

A record is one JSON document per cell. Bytes are integers; times keep their raw samples; units are in the
names. No data is ``None``, never 0. Unknown fields are refused; a schema change raises ``SCHEMA_VERSION``
and old versions still load through ``harness.store``.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 3

FailureKind = Literal["out_of_memory", "crash", "timeout", "non_finite", "error"]
Phase = Literal["memory", "encode", "prefill", "per_frame", "per_token", "flops"]
"""What a cell measures after its questions are answered."""
OFTEN_UNPARSED: Final = 0.1
"""The share of unparsed answers beyond which reports say so beside the score."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CellKey(_Model):
    """What is planned, isolated, recorded, resumed and compared. Equal keys mean the same experiment."""

    task: str
    task_version: int
    task_config: dict[str, Any]
    method: str
    method_config: dict[str, Any]
    frames: int
    height: int
    width: int
    backbone: str
    weights: str
    """SHA-256 (16 hex digits) of the trained weights, or "random"."""
    seed: int
    """Seed of the trained model (or of the random weights)."""
    view_seed: int
    """Seed of the frame sampler."""
    limit: int | None
    batch: int
    dtype: str
    device: str

    @property
    def digest(self) -> str:
        """16 hex digits that name the cell's files."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Environment(_Model):
    """Where the cell ran."""

    harness: str
    python: str
    torch: str
    transformers: str
    platform: str
    cpu: str
    cpu_count: int
    threads: int
    gpu: str | None
    cuda: str | None
    commit: str | None
    dirty: bool | None


class PluginFile(_Model):
    """A Python file that registered more."""

    path: str
    """As given; relative to the working directory where it lies below."""
    sha256: str | None
    """First 16 hex digits of its content's SHA-256 when the cell began; None where it could not be read."""


class Inputs(_Model):
    """What `harness eval` was given beside what the key and the environment say."""

    plugins: tuple[PluginFile, ...]
    models: tuple[str, ...]
    """Folders searched for trained weights, as plugins' paths are given."""
    backbone: str | None
    """The folder that ``CellKey.backbone`` was read from, or ``hub:ORG/NAME@COMMIT``; None for a registered
    name."""
    timeout_s: float
    """Longest time that the cell was given, in seconds."""
    trust_remote_code: bool = False
    """Whether a published model could run code of its own."""
    task_places: dict[str, str] = {}
    """The task's settings that say where its data lies, as plugins' paths are given."""


class Timing(_Model):
    """Raw wall-clock samples of one phase, in milliseconds, after warm-up."""

    raw_ms: tuple[float, ...] = Field(min_length=1)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.raw_ms)

    @property
    def quartiles_ms(self) -> tuple[float, float]:
        """First and third quartile; the single sample twice when there is one."""
        if len(self.raw_ms) == 1:
            return self.raw_ms[0], self.raw_ms[0]
        cut = statistics.quantiles(self.raw_ms, n=4, method="inclusive")
        return cut[0], cut[2]


class Accuracy(_Model):
    """A mean score with its 95 % interval over what was scored; unparsed answers count as wrong, errors do
    not count (questions that ran out of memory are among the errors here; each outcome tells them apart).

    The interval is Wilson's where every question has its own clip, else a bootstrap clustered by clip.
    """

    mean: float | None
    low: float | None
    high: float | None
    scored: int
    unparsed: int
    errors: int
    chance: float | None
    oracles: dict[str, float]

    @property
    def unscored(self) -> bool:
        """Whether there were questions and none of them counts."""
        return self.errors > 0 and self.scored + self.unparsed == 0

    @property
    def often_unparsed(self) -> bool:
        """Whether the share of unparsed answers is beyond :data:`OFTEN_UNPARSED`."""
        return self.unparsed > OFTEN_UNPARSED * (self.scored + self.unparsed)


class Memory(_Model):
    """Bytes of one phase's peak. ``state_bytes`` is what the session keeps between frames, by kind."""

    source: Literal["counted", "cuda"]
    peak_bytes: int
    """Peak of live tensor bytes during prefill, parameters included."""
    resting_bytes: int
    """Live bytes before the phase: parameters, buffers and inputs."""
    reserved_bytes: int | None
    """The CUDA allocator's reserved peak; None elsewhere."""
    host_peak_bytes: int | None
    """The process's high-water mark (VmHWM): recorded, never gated."""
    state_bytes: dict[str, int]


class Latency(_Model):
    """Batch 1, each phase timed apart."""

    encode: Timing | None
    """Vision encoding of all frames."""
    prefill: Timing | None
    """Fusion prefill of all frames and a question up to the first token's logits (time to first token less
    encode)."""
    per_frame: Timing | None
    """Appending one more encoded frame to a session that holds all the others."""
    per_token: Timing | None
    """Decoding one token."""


class PhaseOutOfMemory(_Model):
    """A phase that did not fit; the cell's frames and resolution say at which size."""

    phase: Phase
    live_bytes: int | None
    """Most bytes that were live until then, so that the phase needs more; None where that is not known."""
    message: str


class Measures(_Model):
    """What one cell measured."""

    parameters: int
    accuracy: Accuracy | None
    by_kind: dict[str, Accuracy]
    aggregates: dict[str, float | None] = {}
    """A task's own metrics of all answers together, on its own scale; None for one that could not be made."""
    extrapolated: bool | None
    """Task, frames or resolution outside what the weights were trained on; None without trained weights."""
    memory: Memory | None
    """None where it ran out of memory."""
    latency: Latency
    prefill_flops: int | None
    frames_digest: str
    """One hash over every frame that was shown: equal for all methods of a view."""
    attention_routes: tuple[str, ...]
    out_of_memory: tuple[PhaseOutOfMemory, ...] = ()

    @property
    def unscored(self) -> bool:
        """Whether the task's questions were asked and none of them counts."""
        return self.accuracy is not None and self.accuracy.unscored


class Ok(_Model):
    kind: Literal["ok"] = "ok"
    measures: Measures


class Failed(_Model):
    kind: Literal["failed"] = "failed"
    failure: FailureKind
    message: str
    traceback: str | None = None


class Skipped(_Model):
    kind: Literal["skipped"] = "skipped"
    reason: str


Outcome = Annotated[Ok | Failed | Skipped, Field(discriminator="kind")]


class Record(_Model):
    """The outcome of one cell."""

    schema_version: Literal[3] = SCHEMA_VERSION
    key: CellKey
    environment: Environment
    inputs: Inputs | None = None
    """None where that is not known, as in schema 1."""
    outcome: Outcome
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float
    samples_sha256: str | None = None
    """First 16 hex digits of the sidecar's SHA-256: a sidecar of another run of the same cell is found out.
    None without a sidecar, and in schema 1."""


class SampleOutcome(_Model):
    """One answered question; a sidecar holds one JSON line per question."""

    sample: str
    group: str
    question: str
    kind: str
    prediction: str | None
    answer: str
    status: Literal["scored", "unparsed", "error", "out_of_memory"]
    value: float | None
    oracle_values: dict[str, float | None]
    chance: float | None
    reason: str | None = None
    """Why it is an error, or what is to be said of what was shown: a damaged file, images left out."""
    frames_digest: str | None = None
    """One hash over the frames that the question was asked about, in order; None where there were none."""
    choice_losses: tuple[float, ...] | None = None
    """Of a question that is asked by likelihood: each choice's mean loss per token, in nats."""

    @property
    def counts(self) -> bool:
        """Whether it is part of a mean: it was asked and its answer could be scored, or counts as wrong."""
        return self.status in ("scored", "unparsed")
