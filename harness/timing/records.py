"""The schema of interleaved timings: which methods were timed together at one size, and what came of each.

Times are raw, one per round, in milliseconds; no data is ``None``, never 0; unknown fields are refused. A
schema change raises ``TIMING_SCHEMA``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.records import Environment, Failed, Timing

TIMING_SCHEMA: Final = 1

Phase = Literal["prefill", "per_frame", "per_token"]
"""What is compared, as :class:`harness.records.Latency` defines it."""
PHASES: tuple[Phase, ...] = get_args(Phase)
SYNTHETIC: Final = "synthetic frames"
"""Stands for the task in a key where the stream is noise; its blank keeps it from being any task's name."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimedMethod(_Model):
    """One of the methods that are timed together."""

    method: str
    method_config: dict[str, Any]
    """Every field, defaults included."""
    weights: str
    """SHA-256 (16 hex digits) of the trained weights, or "random"."""


class TimingKey(_Model):
    """Methods that are timed together on one stream. Equal keys mean the same experiment.

    A method that is named twice is timed as two copies, whose true ratio is 1.
    """

    methods: tuple[TimedMethod, ...] = Field(min_length=1)
    task: str
    task_version: int
    task_config: dict[str, Any]
    frames: int
    height: int
    width: int
    backbone: str
    seed: int
    """Seed of the trained models, or of the random weights."""
    view_seed: int
    """Seed of the frame sampler."""
    limit: int | None
    """The stream is the first with the most frames among so many samples."""
    dtype: str
    device: str
    threads: int

    @property
    def digest(self) -> str:
        """16 hex digits that name the record's file."""
        return self._digest(self.model_dump(mode="json"))

    @property
    def series(self) -> str:
        """16 hex digits that sizes share which differ in frames, height and width only."""
        return self._digest(self.model_dump(mode="json", exclude={"frames", "height", "width"}))

    @staticmethod
    def _digest(document: dict[str, Any]) -> str:
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Rounds(_Model):
    """One phase of one method: element i was measured in round i, as the other methods' element i was."""

    raw_ms: tuple[float, ...] = Field(min_length=1)
    """Milliseconds of one repetition."""
    inner: int = Field(ge=1)
    """Repetitions in a row that each element is the mean of; the same for all methods of a record."""

    @property
    def timing(self) -> Timing:
        """The same without the pairing."""
        return Timing(raw_ms=self.raw_ms)


class Timed(_Model):
    """A method went through every round."""

    kind: Literal["ok"] = "ok"
    phases: dict[Phase, Rounds]


MethodOutcome = Annotated[Timed | Failed, Field(discriminator="kind")]

Load = tuple[float, float, float]
"""Runnable processes of the whole machine, means over the last 1, 5 and 15 minutes."""


class TimingRecord(_Model):
    """One size: an outcome for every method of the key, in its order."""

    schema_version: Literal[1] = TIMING_SCHEMA
    key: TimingKey
    environment: Environment
    rounds: int = Field(ge=1)
    order_seed: int
    """The order of the methods is drawn anew for every round and phase, from this."""
    frames_digest: str | None
    """One hash over the stream's frames; None where the stream could not be made."""
    encode: Timing | None
    """Vision encoding of all frames, shared by the methods and timed once, outside of the rounds."""
    load_before: Load | None
    load_after: Load | None
    """Of the machine, this process among it; None where the system does not tell."""
    outcomes: tuple[MethodOutcome, ...]
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float

    @model_validator(mode="after")
    def _one_outcome_each(self) -> Self:
        if len(self.outcomes) != len(self.key.methods):
            raise ValueError(f"{len(self.outcomes)} outcomes for {len(self.key.methods)} methods")
        for outcome in self.outcomes:
            if isinstance(outcome, Timed):
                counts = {phase: len(timed.raw_ms) for phase, timed in outcome.phases.items()}
                if set(counts.values()) != {self.rounds}:
                    raise ValueError(f"times of {counts} rounds in a record of {self.rounds}")
        return self

    @property
    def complete(self) -> bool:
        """Whether every method went through every round."""
        return all(isinstance(outcome, Timed) for outcome in self.outcomes)

    @property
    def crowded(self) -> bool:
        """Whether more was runnable within the last minute than there are processors, before or after."""
        loads = [load[0] for load in (self.load_before, self.load_after) if load is not None]
        return any(load > self.environment.cpu_count for load in loads)
