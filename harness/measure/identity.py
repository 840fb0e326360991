"""What a view's samples follow from, so that a stored copy is used only while none of it has changed."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.files import files_below
from harness.settings import config_json
from harness.task import Task, View

_LIBRARIES = ("av", "datasets", "numpy", "pillow", "scikit-image", "scikit-learn", "scipy")


def identify(name: str, task: Task, view: View) -> dict[str, object]:
    """Task, version, settings, view, source of the code, files that settings name, and libraries."""
    return {
        "task": name,
        "version": task.version,
        "config": config_json(task.config),
        "view": dataclasses.asdict(view),
        "source": _source(type(task)),
        "files": [_stamp(path) for value in _values(task) for path in _files(Path(value))],
        "libraries": [_version(library) for library in _LIBRARIES],
    }


def digest(identity: object) -> str:
    """32 hex digits of a JSON-like value."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _source(cls: type[Task]) -> str:
    """A hash over the code of the task's own file, of its package and of what all tasks are made from."""
    folders = [Path(harness.__file__).parent / name for name in ("tasks", "media")]
    module = sys.modules[cls.__module__]
    own = [Path(module.__file__)] if module.__file__ else []
    if module.__package__:
        folders += [file.parent for file in own]
    state = hashlib.sha256()
    for file in sorted({*own, *(file for folder in folders for file in folder.glob("*.py"))}):
        state.update(file.read_bytes())
    return state.hexdigest()


def _values(task: Task) -> Iterator[str]:
    """Settings that name a file or folder."""
    for value in config_json(task.config).values():
        if isinstance(value, str) and value and os.path.exists(value):
            yield value


def _files(path: Path) -> Iterator[Path]:
    return files_below(path) if path.is_dir() else iter((path,))


def _stamp(path: Path) -> list[object]:
    """A file's path, size and time of last change."""
    try:
        status = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
