"""Records on disk: one JSON file per cell, written so that a half-written one never counts.

``<run>/records/<digest>.json`` holds a record, ``<run>/samples/<digest>.jsonl.gz`` one line per answered
question. A file is written under a temporary name in its own folder, synced and renamed, the sidecar before
the record: whatever the moment of a kill, a record that is there is whole and has its sidecar.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import json
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import strictjson
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.records import SCHEMA_VERSION, Ok, Record, SampleOutcome

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a schema version to the function that lifts a document to the next one."""

_TEMPORARY = ".tmp-"
_NUMBERS = re.compile(r'\[\n[^][{}"]*\]')
"""A list of numbers in indented JSON, to be put on one line; JSON text has no line breaks inside strings."""


class RecordError(HarnessError):
    """A file that does not hold a record that counts."""


class NewerSchemaError(ValueError):
    """A document of a schema version that only a newer harness knows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A record file that does not count, and why."""

    path: Path
    reason: str


class Store:
    """The records of one run folder. Several processes may write to the same folder at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records_dir = root / "records"
        self.samples_dir = root / "samples"

    def open(self) -> Store:
        """Make the folders and try a write; raises InfrastructureError when that is not possible."""
        with writing_to(self.root):
            for folder in (self.records_dir, self.samples_dir):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=folder, prefix=_TEMPORARY) as probe:
                    probe.write(b"probe")
        return self

    def write(self, record: Record, samples: Iterable[SampleOutcome] = ()) -> None:
        """Put a record and its sidecar in place, replacing what was there.

        Raises InfrastructureError when the disk is full or the folder is not writable, ValueError for a
        record that would not load again (a measure that is not finite, for instance).
        """
        text = (
            _NUMBERS.sub(lambda numbers: "".join(numbers[0].split()), record.model_dump_json(indent=1)) + "\n"
        )
        parse_record(text)
        lines = "".join(sample.model_dump_json() + "\n" for sample in samples).encode()
        digest = record.key.digest
        with writing_to(self.root), _locked(self.root):
            if isinstance(record.outcome, Ok):
                replace_file(self.sidecar(digest), gzip.compress(lines, mtime=0))
            replace_file(self.records_dir / f"{digest}.json", text.encode())

    def read(self, digest: str) -> Record | None:
        """The cell's record, or None when there is none that counts.

        Raises UsageError for one of a newer harness, which measuring again would overwrite.
        """
        path = self.records_dir / f"{digest}.json"
        try:
            record = load_record(path)
        except FileNotFoundError:
            return None
        except RecordError as error:
            if isinstance(error.__cause__, NewerSchemaError):
                raise UsageError(
                    f"{str(path)!r} was written by a newer harness ({error}); "
                    "install that one, or choose another folder with --out"
                ) from error
            return None
        if isinstance(record.outcome, Ok) and not self.sidecar(digest).is_file():
            return None
        return record

    def remove(self, digest: str) -> None:
        """Forget a cell."""
        with writing_to(self.root), _locked(self.root):
            (self.records_dir / f"{digest}.json").unlink(missing_ok=True)
            self.sidecar(digest).unlink(missing_ok=True)

    def samples(self, digest: str) -> tuple[SampleOutcome, ...]:
        """The cell's answered questions; raises FileNotFoundError or, for a broken file, ValueError."""
        packed = self.sidecar(digest).read_bytes()
        if not packed:
            raise ValueError("it is empty")
        try:
            lines = gzip.decompress(packed).splitlines()
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it is not a whole gzip file ({error})") from error
        return tuple(SampleOutcome.model_validate_json(line) for line in lines)

    def sidecar(self, digest: str) -> Path:
        """Where the cell's answered questions are: gzipped JSON lines."""
        return self.samples_dir / f"{digest}.jsonl.gz"


def load_records(run_dir: Path) -> tuple[list[Record], list[Problem]]:
    """Every record of a run folder in the order of its digests, and the files that do not count.

    Raises UsageError when the folder holds no ``records``.
    """
    folder = run_dir / "records"
    if not folder.is_dir():
        raise UsageError(f"{str(run_dir)!r} holds no folder 'records'; give the folder of a run")
    records, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(load_record(path))
        except RecordError as error:
            problems.append(Problem(path, str(error)))
    return records, problems


def load_record(path: Path) -> Record:
    """One record; raises RecordError for a file that does not count, FileNotFoundError without a file."""
    try:
        record = parse_record(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RecordError(str(error)) from error
    if path.stem != record.key.digest:
        raise RecordError(f"it holds the cell {record.key.digest}, not the one it is named after")
    return record


def parse_record(text: str) -> Record:
    """A record from JSON of this schema version or an older one; raises ValueError."""
    document = strictjson.loads(text)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("it has no schema version")
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"schema version {version} is newer than {SCHEMA_VERSION}, the newest known here"
        )
    while version < SCHEMA_VERSION:
        document = UPGRADES[version](document)
        version += 1
    try:
        return Record.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name, sync, rename, sync the folder: all or nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep a record and its sidecar together when two runs write the same cell."""
    with (root / ".lock").open("a") as lock:
        # Some network file systems have no locks; each file alone is atomic all the same.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing_to(root: Path) -> Iterator[None]:
    """Turn the file system's errors into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(f"cannot write to {str(root)!r}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run the same command again to go on"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission; choose another folder with --out"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "it is, or lies below, a file; choose another folder with --out"
    return f"{error.strerror or error}; choose another folder with --out"
