"""Data sets made here, kept on disk: written whole or not at all, checked when read, remade when damaged."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InfrastructureError
from harness.files import CACHE_VARIABLE, cache_folder

if TYPE_CHECKING:
    from datasets import Dataset

_SEAL = "sha256.txt"


def cached_dataset(name: str, build: Callable[[], Dataset]) -> Dataset:
    """The data set kept under ``name``; built, checked and put in place where it is missing or damaged."""
    from datasets import Dataset

    folder = cache_folder() / "datasets" / name
    if folder.is_dir():
        if _sealed(folder):
            return Dataset.load_from_disk(str(folder))
        warnings.warn(f"cached data set {folder} is damaged; it is made again", stacklevel=2)
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise InfrastructureError(
            f"cache folder {folder.parent} cannot be written ({error.strerror}); "
            f"set {CACHE_VARIABLE} to a folder that can"
        ) from error
    try:
        with _no_progress_bar():
            build().save_to_disk(str(temporary), max_shard_size="4GB")
        (temporary / _SEAL).write_text(_digest(temporary))
        _put(temporary, folder)
    except OSError as error:
        raise InfrastructureError(
            f"data set {name} cannot be kept in {folder.parent} ({error}); "
            f"free some space or set {CACHE_VARIABLE} to another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Dataset.load_from_disk(str(folder))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """The command line has its own progress display."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _put(temporary: Path, folder: Path) -> None:
    """Rename into place; a process that was faster has put the same there."""
    try:
        temporary.rename(folder)
    except OSError:
        if not (folder.is_dir() and _sealed(folder)):
            raise


def _digest(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's files, the seal apart."""
    state = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name != _SEAL:
            state.update(f"{file.name}:{file.stat().st_size}:".encode())
            with file.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()


def _sealed(folder: Path) -> bool:
    try:
        return (folder / _SEAL).read_text() == _digest(folder)
    except OSError:
        return False
