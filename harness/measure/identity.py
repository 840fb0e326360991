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

from harness.settings import config_json
from harness.task import Task, View

_LIBRARIES = ("av", "datasets", "numpy", "pillow", "scikit-image", "scikit-learn", "scipy")
_PACKAGES = ("harness.tasks", "harness.media")


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
    """A hash over the code of the task's own module and of every loaded module that tasks are made from."""
    files = {
        module.__file__
        for name, module in sys.modules.items()
        if (name == cls.__module__ or name.startswith(_PACKAGES)) and getattr(module, "__file__", None)
    }
    state = hashlib.sha256()
    for file in sorted(name for name in files if name is not None):
        state.update(Path(file).read_bytes())
    return state.hexdigest()


def _values(task: Task) -> Iterator[str]:
    """Settings that name a file or folder."""
    for value in config_json(task.config).values():
        if isinstance(value, str) and value and os.path.exists(value):
            yield value


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


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
