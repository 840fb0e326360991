"""The committed baseline: bytes of every cell, where they come from, and what was alive at the peak.

One JSON file, one line per cell, so that a change of the code shows up as changed lines of its diff. It is
written whole or not at all.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.counting.records import COUNT_SCHEMA, Alive, CountRecord, NotCounted
from harness.errors import InfrastructureError, UsageError
from harness.files import replace_file
from harness.gate.names import cell_name
from harness.records import Environment

BASELINE_SCHEMA: Final = 1
KEPT_ALIVE: Final = 6
"""Lines of tensors that the baseline keeps of a peak."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaselineCell(_Model):
    """What one scenario counted, or why it was not counted."""

    name: str
    peak_bytes: int | None = Field(ge=0)
    failure: str | None = None
    alive: tuple[Alive, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.peak_bytes is None) == (self.failure is None):
            raise ValueError("a cell has either peak_bytes or a failure")
        return self


class Baseline(_Model):
    """The file's content."""

    schema_version: Literal[1] = BASELINE_SCHEMA
    count_schema: Literal[1] = COUNT_SCHEMA
    harness: str
    torch: str
    transformers: str
    command: str
    """That wrote it."""
    date: str
    """UTC, ISO 8601."""
    commit: str | None
    """Of the repository that holds the configuration; None outside of one."""
    dirty: bool | None
    harness_commit: str | None
    grid: dict[str, Any]
    """What was counted, as the configuration says it."""
    cells: dict[str, BaselineCell]
    """By the digest of the scenario."""


def make_baseline(
    records: Sequence[CountRecord], grid: dict[str, Any], command: str, folder: Path
) -> Baseline:
    """A baseline of what was counted now; ``folder`` is in the repository whose commit is named."""
    if not records:
        raise UsageError("nothing was counted, so there is no baseline to write; name methods that exist")
    environment = records[0].environment
    commit, dirty = _commit(folder)
    return Baseline(
        harness=environment.harness,
        torch=environment.torch,
        transformers=environment.transformers,
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
        harness_commit=environment.commit,
        grid=grid,
        cells={record.key.digest: _cell(record) for record in records},
    )


def _cell(record: CountRecord) -> BaselineCell:
    name, outcome = cell_name(record.key), record.outcome
    if isinstance(outcome, NotCounted):
        return BaselineCell(name=name, peak_bytes=None, failure=outcome.message)
    return BaselineCell(name=name, peak_bytes=outcome.peak.peak_bytes, alive=outcome.peak.alive[:KEPT_ALIVE])


def same_content(one: Baseline, other: Baseline) -> bool:
    """Whether two differ at most in when, where and by which command they were written."""
    provenance = {"command", "date", "commit", "dirty", "harness_commit"}
    return one.model_dump(exclude=provenance) == other.model_dump(exclude=provenance)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Put the file in place whole; raises InfrastructureError where that cannot be done."""
    head = baseline.model_dump(mode="json", exclude={"cells"})
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    # By name and digest, so that an update changes the lines of changed cells only.
    cells = sorted(baseline.cells.items(), key=lambda item: (item[1].name, item[0]))
    rows = [f"  {json.dumps(digest)}: {cell.model_dump_json()}" for digest, cell in cells]
    text = "{\n" + ",\n".join([*lines, ' "cells": {\n' + ",\n".join(rows) + "\n }"]) + "\n}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        raise InfrastructureError(
            f"cannot write the baseline {str(path)!r}: {error.strerror or error}; "
            "free the way, or choose another file with --baseline"
        ) from error


def read_baseline(path: Path) -> Baseline | None:
    """The file's baseline, None without a file; raises UsageError for one that cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"baseline {str(path)!r} cannot be read ({error}); {_restore(path)}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"baseline {str(path)!r} is truncated or no JSON ({error}); {_restore(path)}"
        ) from error
    _check_schema(document, path)
    try:
        return Baseline.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"baseline {str(path)!r} is damaged at {where}: {first['msg']}; {_restore(path)}"
        ) from error


def _restore(path: Path) -> str:
    return f"restore it from version control, or delete it and run `harness check --update` ({path.name})"


def _check_schema(document: object, path: Path) -> None:
    known = {"schema_version": BASELINE_SCHEMA, "count_schema": COUNT_SCHEMA}
    for name, ours in known.items():
        theirs = document.get(name) if isinstance(document, dict) else None
        if type(theirs) is int and theirs > ours:
            raise UsageError(
                f"baseline {str(path)!r} has {name} {theirs}, but {ours} is the newest known here; "
                "install the harness that wrote it"
            )
        if theirs != ours or type(theirs) is not int:
            raise UsageError(
                f"baseline {str(path)!r} has {name} {theirs!r}, not {ours}; "
                "delete it and run `harness check --update`"
            )


def check_torch(baseline: Baseline, environment: Environment, path: Path, update: str) -> None:
    """Raise UsageError for a baseline of another torch: its operators allocate differently.

    Builds of one version (``+cpu``, ``+cu130``) count alike and compare.
    """
    if _release(baseline.torch) != _release(environment.torch):
        raise UsageError(
            f"baseline {str(path)!r} was written with torch {baseline.torch}, here is torch "
            f"{environment.torch}; install torch {_release(baseline.torch)}, or run `{update}`"
        )


def _release(version: str) -> str:
    return version.partition("+")[0]


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit or None, None if status is None or not commit else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
