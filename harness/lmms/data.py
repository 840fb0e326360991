"""Where a task's documents and media come from: a local folder or file, or the hub.

A local copy is what ``save_to_disk`` writes, or Parquet, JSON or CSV files named after their splits
(``test.parquet``, ``data/test-00000-of-00002.parquet``); a configuration of the data set may have a folder of
its own (``Art_Style/val-00000-of-00001.parquet``). Videos lie beside them as the task's archives unpack.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from harness.errors import InfrastructureError, UsageError, is_disk_full, is_out_of_memory
from harness.files import CACHE_VARIABLE, cache_folder, files_below
from harness.lmms.catalogue import LeafSpec

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
_ANNOTATIONS = frozenset({*READERS, ".arrow", ".tsv", ".srt", ".txt"})
_SHARD = re.compile(r"^(.*?)(?:-\d{5}-of-(\d{5}))?$")
"""A table's name, and of how many files it is."""
_SPLIT_NAMES = ("train", "training", "validation", "valid", "val", "dev", "test")
"""What other splits are called: a table of that name is not taken for the one that is wanted."""
_TIMEOUT_S = 20.0


def fingerprint(data: Path) -> str:
    """16 hex digits of a local copy: contents of what holds annotations, names and sizes of media.

    Raises UsageError for a path that is not there or holds nothing.
    """
    files = sorted(_files(data))
    if not files:
        raise UsageError(f"data={str(data)!r} holds no file; give a folder with the data set, or its file")
    for file in files:
        if not file.is_file():
            raise UsageError(f"data={str(data)!r} holds {file}, {_oddity(file)}")
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _fingerprint(str(data), stamps)


@lru_cache(maxsize=16)
def _fingerprint(data: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    root = Path(data)
    state = hashlib.sha256()
    for name, size, _ in stamps:
        file = Path(name)
        state.update(f"{file.relative_to(root) if root.is_dir() else file.name}:{size}\n".encode())
        if file.suffix.lower() in _ANNOTATIONS:
            with file.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:16]


def _oddity(path: Path) -> str:
    """What a path is that is no file, and what to do about it."""
    if path.is_dir():
        return "a folder that cannot be read; let it be, or remove it"
    if path.exists():
        return "which is no file (a pipe, a socket or a device); remove it"
    return "a link to nothing; mend or remove it"


def _files(data: Path) -> Iterator[Path]:
    """The files of a local copy but the hidden ones, whose name or folder begins with a dot."""
    if data.is_dir():
        for file in files_below(data):
            if not any(part.startswith(".") for part in file.relative_to(data).parts):
                yield file
    elif data.is_file():
        yield data
    else:
        missing = "is neither a folder nor a file" if data.exists() else "does not exist"
        raise UsageError(f"data={str(data)!r} {missing}; give a folder with the data set, or its file")


def hub_revision(leaf: LeafSpec) -> str:
    """The commit of the task's data set on the hub, or of the copy in the hub's cache.

    Raises InfrastructureError, with both ways to get the data, where there is neither.
    """
    repository = str(leaf.config.get("dataset_path"))
    wanted = (leaf.config.get("dataset_kwargs") or {}).get("revision")
    found, reason = _commit(repository, wanted)
    if found is not None:
        return found
    raise InfrastructureError(
        f"task lmms:{leaf.name} needs the data set {repository}, which is not at hand ({reason[:160]}): "
        "let the hub be reached (unset HF_HUB_OFFLINE; `hf auth login` where access is granted on request), "
        f"or give a local copy with --data DIR"
    )


@lru_cache(maxsize=64)
def _commit(repository: str, wanted: str | None) -> tuple[str | None, str]:
    """The commit on the hub, else that of the hub's cache, else None and why."""
    import huggingface_hub

    try:
        found = huggingface_hub.HfApi().dataset_info(repository, revision=wanted, timeout=_TIMEOUT_S)
        if found.sha:
            return str(found.sha), ""
        reason = "it names no commit"
    except Exception as error:  # Every layer below raises its own: offline, gated, unknown, no name service.
        reason = next(iter(str(error).split("\n")), "") or type(error).__name__
    with contextlib.suppress(Exception):
        kept = huggingface_hub.snapshot_download(
            repository, repo_type="dataset", revision=wanted, local_files_only=True
        )
        return Path(kept).name, ""
    return None, reason


@contextlib.contextmanager
def redirected(leaf: LeafSpec, data: Path) -> Iterator[None]:
    """While this holds, the task's data set is read from ``data``, by whatever function asks for it."""
    import datasets

    own = leaf.config.get("dataset_path")

    def load_dataset(path: str, name: str | None = None, *_: object, **options: object) -> Any:
        if path != own:
            raise UsageError(f"task lmms:{leaf.name} reads data set {path} too, which {data} does not hold")
        split = options.get("split")
        wanted = [str(split)] if split else _splits(leaf)
        found = read_local(data, name, wanted)
        return found[str(split)] if split else found

    bars, verbosity = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        with mock.patch.object(datasets, "load_dataset", load_dataset):
            yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def _splits(leaf: LeafSpec) -> list[str]:
    """The split that is evaluated, and those that a task may draw examples from."""
    names = (leaf.config.get(f"{kind}_split") for kind in ("test", "validation", "fewshot", "training"))
    return list(dict.fromkeys(str(name) for name in names if name))


def read_local(data: Path, name: str | None, splits: Sequence[str]) -> DatasetDict:
    """The splits of a local data set that are there; the first of them must be.

    Raises UsageError that names what was looked for.
    """
    import datasets

    root = data / name if name is not None and (data / name).is_dir() else data
    if (root / "dataset_dict.json").is_file():
        found = datasets.load_from_disk(str(root))
    elif (root / "state.json").is_file():
        found = datasets.DatasetDict({splits[0]: datasets.load_from_disk(str(root))})
    else:
        found = datasets.DatasetDict(_read_files(root, splits))
    if splits[0] not in found:
        there = ", ".join(found or _file_splits(root)) or "nothing"
        raise UsageError(
            f"data={str(data)!r} holds no split {splits[0]!r}"
            + (f" of configuration {name!r}" if name else "")
            + f" (found: {there}); name its files {splits[0]}.parquet or "
            f"{splits[0]}-00000-of-00001.parquet, or save it with save_to_disk"
        )
    return found


def _read_files(root: Path, splits: Sequence[str]) -> dict[str, Dataset]:
    by_split: dict[str, list[Path]] = {}
    for file in sorted(_files(root)):
        if file.suffix.lower() in READERS:
            by_split.setdefault(_split(file), []).append(file)
    if len(by_split) == 1 and not {*by_split} & {*splits, *_SPLIT_NAMES}:
        # One table under a name of its own: there is nothing else that could be meant.
        by_split = {splits[0]: next(iter(by_split.values()))}
    wanted = {split: files for split, files in by_split.items() if split in splits}
    for split, files in wanted.items():
        _check_whole(split, files)
    return {split: _read_table(split, files) for split, files in wanted.items()}


def _read_table(split: str, files: Sequence[Path]) -> Dataset:
    """The files of one table, all of one kind."""
    import datasets

    kind = READERS[files[0].suffix.lower()]
    read = {"parquet": datasets.Dataset.from_parquet, "json": datasets.Dataset.from_json}
    read["csv"] = datasets.Dataset.from_csv
    try:
        return _with_images(read[kind]([str(file) for file in files], split=datasets.NamedSplit(split)))
    except Exception as error:  # Every reader raises its own.
        if is_out_of_memory(error) or is_disk_full(error):
            raise
        cause = error.__cause__ or error
        raise UsageError(
            f"data in {', '.join(map(str, files))} cannot be read as {kind}: {type(cause).__name__}: "
            f"{' '.join(str(cause).split())[:200]}; give whole files with rows"
        ) from error


def _check_whole(split: str, files: Sequence[Path]) -> None:
    """Raise UsageError unless the files are one table: one file, or every shard of it in one folder."""
    counts = {
        (file.parent, file.suffix, matched[2]) for file in files if (matched := _SHARD.match(file.stem))
    }
    if len(counts) > 1:
        raise UsageError(
            f"split {split!r} is in {', '.join(map(str, files))}, which are several tables; leave one of "
            "them in the folder, or give the folder of one as data"
        )
    whole = int(next(iter(counts))[2] or 1) if counts else len(files)
    if len(files) != whole:
        raise UsageError(
            f"split {split!r} has {len(files)} of {whole} files ({', '.join(file.name for file in files)}); "
            "copy the others too"
        )


def _file_splits(root: Path) -> list[str]:
    """The splits that the files of a folder are named after."""
    return sorted({_split(file) for file in _files(root) if file.suffix.lower() in READERS})


def _split(file: Path) -> str:
    matched = _SHARD.match(file.stem)
    return matched[1] if matched else file.stem


def _with_images(table: Dataset) -> Dataset:
    """Columns of {bytes, path} as images, where a file's writer left out the schema that says so."""
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, dict) and set(feature) == {"bytes", "path"}:
            table = table.cast_column(name, datasets.Image())
        elif isinstance(inner := getattr(feature, "feature", None), dict) and set(inner) == {"bytes", "path"}:
            table = table.cast_column(name, datasets.List(datasets.Image()))
    return table


def home_of(leaf: LeafSpec, data: Path) -> Path:
    """A folder that looks to the task like the hub's cache with the archives unpacked: a link to ``data``.

    Raises InfrastructureError where it cannot be made.
    """
    folder = data if data.is_dir() else data.parent
    inner = str((leaf.config.get("dataset_kwargs") or {}).get("cache_dir") or "none").strip("/")
    name = hashlib.sha256(f"{folder.resolve()}:{inner}".encode()).hexdigest()[:16]
    home = cache_folder() / "lmms" / name
    link = home / inner
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            with contextlib.suppress(FileExistsError):
                link.symlink_to(folder.resolve(), target_is_directory=True)
    except OSError as error:
        raise InfrastructureError(
            f"cache folder {home.parent} cannot be written ({error.strerror}); "
            f"set {CACHE_VARIABLE} to a folder that can"
        ) from error
    return home
