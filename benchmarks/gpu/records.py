"""What was measured on a device beside what was counted: the schema, and one file per cell.

Bytes are integers; no data is None; unknown fields are refused. A change raises ``GPU_SCHEMA``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.counting.records import CountKey
from harness.files import replace_file, writing_to
from harness.records import Environment
from harness.store import Problem

GPU_SCHEMA: Final = 1
TOLERANCE = 0.01
"""Share of the counted bytes by which allocated ones may differ, or may differ without a named cause."""
CARD_SHARE = 0.9
"""Share of a card's memory above which a counted peak may well not fit."""

Verdict = Literal["within", "named", "unnamed"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(_Model):
    """The device and what shapes its allocator."""

    name: str
    capability: tuple[int, int]
    total_bytes: int
    settings: dict[str, str]
    """Environment variables that change what is allocated, where they are set."""


class Causes(_Model):
    """Why more, or less, was allocated than counted; bytes, negative where less."""

    workspaces: int
    """Kept by matrix-product libraries from one call to the next: what a small product and its gradient left
    allocated before the model was made, as far as it was still there."""
    rounding: int
    """Blocks larger than what was asked for, beyond the multiples of 512 bytes that the counter adds."""
    scratch: int
    """Inside kernels at the peak, read around every operator."""
    outputs: int
    """Tensors that the device's operators returned and the counter's did not, or the reverse."""

    @property
    def named(self) -> int:
        return self.workspaces + self.rounding + self.scratch + self.outputs

    @property
    def largest(self) -> str:
        parts = self.model_dump()
        return max(parts, key=lambda name: abs(parts[name]))


class PhaseRecord(_Model):
    """One phase: peaks of the allocator and of the counter."""

    allocated_bytes: int
    """In blocks given out, as ``torch.cuda.max_memory_allocated`` tells."""
    requested_bytes: int
    """Asked for, before any rounding."""
    reserved_bytes: int
    """Held from the driver."""
    counted_bytes: int
    counted_exact_bytes: int
    """Before rounding each storage up to 512 bytes."""
    causes: Causes
    scratch_operator: str
    """The operator inside which the peak was reached; empty where it was reached outside of any."""

    @property
    def ratio(self) -> float:
        return self.allocated_bytes / self.counted_bytes

    @property
    def unnamed_bytes(self) -> int:
        return self.allocated_bytes - self.counted_bytes - self.causes.named

    @property
    def fragmentation_bytes(self) -> int:
        """Held from the driver and given to nobody, at each one's own peak."""
        return self.reserved_bytes - self.allocated_bytes

    @property
    def verdict(self) -> Verdict:
        most = TOLERANCE * self.counted_bytes
        if abs(self.allocated_bytes - self.counted_bytes) <= most:
            return "within"
        return "named" if abs(self.unnamed_bytes) <= most else "unnamed"


class Measured(_Model):
    kind: Literal["ok"] = "ok"
    phases: dict[str, PhaseRecord]
    resting_bytes: int
    """Requested before the scenario and after warm-up: model, workspaces and whatever else stays."""
    model_bytes: int
    """Parameters and buffers, unrounded."""
    workspace_bytes: int
    """What a small product and its gradient left allocated."""
    routes_counted: tuple[str, ...]
    """Attention kernels as the counter predicted them, as ``route/kernel``."""
    routes_seen: tuple[str, ...]
    """As they ran."""


class OutOfMemory(_Model):
    """The scenario did not fit."""

    kind: Literal["out_of_memory"] = "out_of_memory"
    phase: str
    """Where; ``model`` before the scenario began."""
    counted_peak_bytes: int
    message: str


class Failed(_Model):
    """Nothing can be said: an error, or a process that died."""

    kind: Literal["failed"] = "failed"
    message: str
    traceback: str | None = None


Outcome = Annotated[Measured | OutOfMemory | Failed, Field(discriminator="kind")]


class GpuRecord(_Model):
    """One cell and its outcome."""

    schema_version: Literal[1] = GPU_SCHEMA
    key: CountKey
    environment: Environment
    card: Card
    warmups: int
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float
    outcome: Outcome


def path_of(folder: Path, key: CountKey) -> Path:
    return folder / f"{key.digest}.json"


def write_record(folder: Path, record: GpuRecord) -> None:
    """Put a record in place, whole; raises InfrastructureError where the folder cannot be written."""
    write_text(path_of(folder, record.key), record.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())


def read_record(path: Path) -> GpuRecord:
    """Raises ValueError for a file that holds no record of this schema, OSError where there is none."""
    try:
        return GpuRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']} (this reads schema {GPU_SCHEMA})") from error


def stands(path: Path, key: CountKey, environment: Environment, card: Card) -> bool:
    """Whether a cell needs no measuring: its record is whole, says something, and is of this card and
    torch."""
    try:
        record = read_record(path)
    except (OSError, ValueError):
        return False
    same = (
        record.environment.torch == environment.torch
        and record.environment.cuda == environment.cuda
        and record.card == card
    )
    return record.key == key and same and not isinstance(record.outcome, Failed)


def load_records(folder: Path, keys: Iterable[CountKey]) -> tuple[list[GpuRecord], list[Problem]]:
    """The records of a grid in its order, and the cells that have none."""
    records, problems = [], []
    for key in keys:
        path = path_of(folder, key)
        try:
            records.append(read_record(path))
        except FileNotFoundError:
            problems.append(Problem(path, "it is missing"))
        except (OSError, ValueError) as error:
            problems.append(Problem(path, str(error)))
    return records, problems
