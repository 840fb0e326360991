"""A cache of tensors on disk that may be wrong, full or shared, and never costs a cell its result.

One safetensors file per entry, with a checksum over names, types, shapes and bytes. A file appears whole or
not at all; a damaged one is made again; a folder that cannot be written is reported and done without.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

T = TypeVar("T")
Tensors = Mapping[str, Tensor]

KEPT_S = 30 * 24 * 3600.0
"""Entries that nobody read or wrote for this long are removed."""

_DAMAGE = (SafetensorError, OSError, ValueError, KeyError, IndexError, RuntimeError)


class EntryCache:
    """Entries named by a hexadecimal digest in one folder. ``warn`` gets one line for whatever went wrong."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self.warn = warn
        self._writable, self._tidied = True, False

    def get_or_make(
        self, name: str, decode: Callable[[Tensors], T], make: Callable[[], tuple[T, Tensors]]
    ) -> T:
        """The entry as ``decode`` reads it, or what ``make`` makes, which is then stored.

        Of several processes that want one entry at once, one makes it and the others wait.
        """
        path = self.folder / f"{name}.safetensors"
        found = self._read(path, decode)
        if found is not None:
            return found
        with self._locked(name):
            found = self._read(path, decode)
            if found is not None:
                return found
            value, tensors = make()
            self.put(name, tensors)
            return value

    def _read(self, path: Path, decode: Callable[[Tensors], T]) -> T | None:
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            if metadata.get("sha256") != checksum(tensors):
                raise ValueError("its checksum does not match")
            value = decode(tensors)
        except _DAMAGE as error:
            self.warn(f"cache entry {path.name} is damaged and is made again: {_line(error)}")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return value

    def put(self, name: str, tensors: Tensors) -> None:
        """Store an entry, unless the folder could not be written before."""
        if not self._writable:
            return
        content = save(dict(tensors), {"sha256": checksum(tensors)})
        temporary: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_old()
            handle, made = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            temporary = Path(made)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, self.folder / f"{name}.safetensors")
        except OSError as error:
            self._writable = False
            self.warn(f"cache folder {self.folder} cannot be written, going on without it: {_line(error)}")
            if temporary is not None:
                _remove(temporary)

    def _remove_old(self) -> None:
        """Once per process."""
        if self._tidied:
            return
        self._tidied = True
        limit = time.time() - KEPT_S
        for path in self.folder.iterdir():
            if path.suffix in (".safetensors", ".tmp", ".lock"):
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < limit:
                        path.unlink()

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the entry's own lock file; where the file system has no locks, work may be done twice.

        No other entry's: what is made here may ask for entries that something else is making.
        """
        path = self.folder / f"{name}.lock"
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
                # Who waits for the file that is removed finds the entry, or makes it beside another.
                stack.callback(_remove, path)
            yield


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def checksum(tensors: Tensors) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        state.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        state.update(tensor.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
