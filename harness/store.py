"""Records on disk: one JSON file per cell, written so that a half-written one never counts.

``<run>/records/<digest>.json`` holds a record, ``<run>/samples/<digest>.jsonl.gz`` one line per answered
question. Both are written under temporary names, synced and renamed, the sidecar before the record, and the
record holds the sidecar's hash: whatever the moment of a kill, a record that counts is whole and has the
sidecar that was written with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import gzip
import hashlib
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from harness.errors import HarnessError, UsageError
from harness.files import ABANDONED_S, TEMPORARY, remove_abandoned, replace_files, writing_to
from harness.records import SCHEMA_VERSION, Ok, Record, SampleOutcome
from harness.schema import NewerSchemaError, Upgrade, parsed


class Digested(Protocol):
    """A key that names a record's file."""

    @property
    def digest(self) -> str: ...


class Keyed(Protocol):
    """A record with its key."""

    @property
    def key(self) -> Digested: ...


K = TypeVar("K", bound=Keyed)


def _to_2(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 told neither plugins and folders nor which sidecar is the record's."""
    return {**document, "schema_version": 2, "inputs": None, "samples_sha256": None}


def _to_3(document: dict[str, Any]) -> dict[str, Any]:
    """In schema 2 a phase that ran out of memory failed the whole cell, so no measures lack one."""
    return {**document, "schema_version": 3}


UPGRADES: dict[int, Upgrade] = {1: _to_2, 2: _to_3}
"""From a schema version to the function that lifts a document to the next one."""

_GRACE_S = 60.0
"""Age from which a temporary file is removed while the lock is held: on file systems whose locks do not reach
other machines, one of them may be about to rename it."""
_NUMBERS = re.compile(r'\[\n[^][{}"]*\]')
"""A list of numbers in indented JSON, to be put on one line; JSON text has no line breaks inside strings."""


class Score(BaseModel):
    """What the number of clips and a check of the mean need of an answered question."""

    group: str
    status: Literal["scored", "unparsed", "error", "out_of_memory"]
    value: Annotated[float | None, Field(allow_inf_nan=False)]


_ANSWERS = TypeAdapter(list[SampleOutcome])
_SCORES = TypeAdapter(list[Score])


class RecordError(HarnessError):
    """A file that does not hold a record that counts."""


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
        """Make the folders, try a write, and remove what killed writers left behind.

        Raises InfrastructureError when nothing can be written.
        """
        folders = (self.records_dir, self.samples_dir)
        with writing_to(self.root):
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            with locked(self.root) as held:
                for folder in folders:
                    remove_abandoned(folder, older_s=_GRACE_S if held else ABANDONED_S)
                    with tempfile.NamedTemporaryFile(dir=folder, prefix=TEMPORARY) as probe:
                        probe.write(b"probe")
        return self

    def write(self, record: Record, samples: Iterable[SampleOutcome] = ()) -> Record:
        """Put a record and its sidecar in place, replacing what was there; returns the record as written.

        Raises InfrastructureError when the disk is full or the folder is not writable, ValueError for a
        record that would not load again (a measure that is not finite, for instance).
        """
        digest = record.key.digest
        files: dict[Path, bytes] = {}
        if isinstance(record.outcome, Ok):
            lines = "".join(sample.model_dump_json() + "\n" for sample in samples).encode()
            packed = gzip.compress(lines, mtime=0)
            files[self.sidecar(digest)] = packed
            record = record.model_copy(update={"samples_sha256": _sha256(packed)})
        text = record_text(record)
        parse_record(text)
        files[self._path(digest)] = text.encode()
        with writing_to(self.root), locked(self.root):
            replace_files(files)
        return record

    def read(self, digest: str) -> Record | None:
        """The cell's record, or None when there is none that counts.

        Raises UsageError for one of a newer harness, which measuring again would overwrite.
        """
        path = self._path(digest)
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
        if isinstance(record.outcome, Ok):
            try:
                packed = self.sidecar(digest).read_bytes()
            except OSError:
                return None
            if record.samples_sha256 not in (None, _sha256(packed)):
                return None
        return record

    def remove(self, digest: str) -> None:
        """Forget a cell."""
        with writing_to(self.root), locked(self.root):
            self._path(digest).unlink(missing_ok=True)
            self.sidecar(digest).unlink(missing_ok=True)

    def samples(self, digest: str) -> tuple[SampleOutcome, ...]:
        """The cell's answered questions.

        Raises FileNotFoundError or, for a broken file and one that was not written with the cell's record,
        ValueError.
        """
        return tuple(_ANSWERS.validate_json(self._answers(digest, self._hash(digest))))

    def clips(self, digest: str) -> int:
        """How many independent groups the cell's answered questions are in; the rest of them is not parsed,
        which takes a quarter of the time.

        Raises as :meth:`samples`.
        """
        return len({one.group for one in _SCORES.validate_json(self._answers(digest, self._hash(digest)))})

    def scores(self, record: Record) -> list[Score]:
        """A third of what there is to know of a loaded record's answered questions, in a third of the time.

        The rest is not parsed where the record vouches for it: it has the hash of what was written with it.
        Raises as :meth:`samples`.
        """
        answers = self._answers(record.key.digest, record.samples_sha256)
        if record.samples_sha256 is None:
            _ANSWERS.validate_json(answers)
        return _SCORES.validate_json(answers)

    def _hash(self, digest: str) -> str | None:
        with contextlib.suppress(FileNotFoundError, RecordError):
            return load_record(self._path(digest)).samples_sha256
        return None

    def _answers(self, digest: str, sha256: str | None) -> bytes:
        """The sidecar as a JSON list; its lines hold no line breaks. No hash fits every sidecar."""
        packed = self.sidecar(digest).read_bytes()
        if not packed:
            raise ValueError("it is empty")
        if sha256 not in (None, _sha256(packed)):
            raise ValueError("it was not written with the cell's record; measure the cell again")
        try:
            lines = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it is not a whole gzip file ({error})") from error
        return b"[%b]" % lines.removesuffix(b"\n").replace(b"\n", b",")

    def sidecar(self, digest: str) -> Path:
        """Where the cell's answered questions are: gzipped JSON lines."""
        return self.samples_dir / f"{digest}.jsonl.gz"

    def _path(self, digest: str) -> Path:
        return self.records_dir / f"{digest}.json"


def load_records(run_dir: Path) -> tuple[list[Record], list[Problem]]:
    """Every record of a run folder in the order of its digests, and the files that do not count.

    Raises UsageError when the folder holds no ``records``.
    """
    folder = run_dir / "records"
    if not folder.is_dir():
        raise UsageError(f"{str(run_dir)!r} holds no folder 'records'; give the folder of a run")
    return load_all(folder, load_record)


def load_all(folder: Path, load: Callable[[Path], K]) -> tuple[list[K], list[Problem]]:
    """The records of a folder, which may be missing, by file name, and the files that do not count."""
    records, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(load(path))
        except FileNotFoundError:  # A run at work has removed it since the folder was listed.
            continue
        except RecordError as error:
            problems.append(Problem(path, str(error)))
    return records, problems


def load_record(path: Path) -> Record:
    """One record; raises RecordError for a file that does not count, FileNotFoundError without a file."""
    return load_named(path, parse_record, "cell")


def load_named(path: Path, parse: Callable[[str], K], noun: str) -> K:
    """The record of a file that is named after its key's digest; raises as :func:`load_record` does.

    ``parse`` raises ValueError; ``noun`` says what a record is of.
    """
    try:
        record = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RecordError(str(error)) from error
    if path.stem != record.key.digest:
        raise RecordError(f"it holds the {noun} {record.key.digest}, not the one it is named after")
    return record


def parse_record(text: str) -> Record:
    """A record from JSON of this schema version or an older one; raises ValueError."""
    return parsed(Record, text, SCHEMA_VERSION, UPGRADES)


def record_text(record: BaseModel) -> str:
    """A record as it is stored: indented JSON with each list of numbers on one line."""
    return _NUMBERS.sub(lambda numbers: "".join(numbers[0].split()), record.model_dump_json(indent=1)) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection, which walks through millions of answers again and again while they are read."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextlib.contextmanager
def locked(root: Path) -> Iterator[bool]:
    """Keep out other writers of a run folder; False where the file system has no locks.

    Some network file systems have none; each file alone is atomic all the same.
    """
    with (root / ".lock").open("a") as lock:
        held = False
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = True
        yield held
