"""Which tasks the installed lmms-eval has: found by reading its YAML files, without importing it.

A file names a task, a group of tasks, or tags that tasks carry; groups and tags stand for their tasks. A
task's identity is a hash over its YAML files and the Python files beside them that these name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InfrastructureError, UsageError, unknown

DISTRIBUTION = "lmms_eval"
PINNED = "0.7.3"
"""The version that the harness is tested with."""
RECIPE = f"run `make lmms`, or `pip install '.[lmms]'` and then `pip install --no-deps lmms-eval=={PINNED}`"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C where it is there: ten times as fast."""
_FUNCTION = "!function "
_TAGGED = re.compile(r"!function\s+[\w.]+")
_SCALAR = re.compile(r"""^(task|group)\s*:\s*["']?([\w.-]+)["']?\s*(?:#.*)?$""", re.MULTILINE)
_GROUP = re.compile(r"^group\s*:", re.MULTILINE)
_TAG = re.compile(r"^tag\s*:", re.MULTILINE)
_CLASS = re.compile(r"^class\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafSpec:
    """One task of lmms-eval: its YAML file, its settings (functions as text), and the files they come
    from."""

    name: str
    path: Path
    config: Mapping[str, Any]
    files: tuple[Path, ...]

    @property
    def version(self) -> str:
        """What the task says of its version; "none" where it says nothing."""
        metadata = self.config.get("metadata")
        entries = metadata if isinstance(metadata, list) else [metadata]
        versions = [entry["version"] for entry in entries if isinstance(entry, dict) and "version" in entry]
        return str(versions[0]) if versions else "none"

    @property
    def digest(self) -> str:
        """16 hex digits over the names and contents of the task's files."""
        state = hashlib.sha256()
        for file in self.files:
            state.update(f"{file.name}\n".encode())
            state.update(file.read_bytes())
        return state.hexdigest()[:16]


@dataclass(frozen=True)
class _Index:
    """Files by the names of their tasks, tasks with a tag and their files, and the files of groups.

    Tags and groups are parsed when they are asked for: a task's own name needs none of them.
    """

    tasks: Mapping[str, Path]
    tagged: tuple[tuple[str, Path], ...]
    grouping: tuple[Path, ...]

    @cached_property
    def groups(self) -> Mapping[str, Path]:
        return {str(_read(path).get("group")): path for path in self.grouping}

    @cached_property
    def tags(self) -> Mapping[str, tuple[str, ...]]:
        tags: dict[str, list[str]] = {}
        for task, path in self.tagged:
            given = _read(path).get("tag") or []
            for tag in [given] if isinstance(given, str) else given:
                tags.setdefault(str(tag), []).append(task)
        return {tag: tuple(sorted(names)) for tag, names in tags.items()}

    @property
    def names(self) -> set[str]:
        return {*self.tasks, *self.groups, *self.tags}


def installed() -> str | None:
    """The version of lmms-eval that is installed, None where there is none."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def task_folder() -> Path:
    """The folder of lmms-eval's tasks. Raises InfrastructureError where it is not installed."""
    found = importlib.util.find_spec(DISTRIBUTION)
    if found is None or found.origin is None:
        raise InfrastructureError(
            "tasks of lmms-eval need lmms-eval, which is not installed; "
            f"{RECIPE} (`harness doctor` checks it)"
        )
    return Path(found.origin).parent / "tasks"


def find(name: str) -> tuple[LeafSpec, ...]:
    """The tasks that a name stands for: one, or those of a group or tag, in their order.

    Raises UsageError for an unknown name and for a task that is a Python class.
    """
    folder = task_folder()
    index = _index(folder)
    if name not in index.tasks and name not in index.names:
        longer = sorted(other for other in index.names if other.startswith(f"{name}_"))[:6]
        if longer:
            raise UsageError(f"lmms-eval has no task {name!r} but {', '.join(longer)}; name one of them")
        raise unknown("task of lmms-eval", name, index.names)
    leaves = tuple(_leaf(leaf, index.tasks[leaf]) for leaf in dict.fromkeys(_expand(name, index, ())))
    if not leaves:
        raise UsageError(f"group {name!r} of lmms-eval holds no task; name a single task")
    return leaves


def _expand(name: str, index: _Index, above: tuple[str, ...]) -> Iterator[str]:
    if name in above:
        return
    if name in index.tasks:
        yield name
    elif name in index.tags:
        for member in index.tags[name]:
            yield from _expand(member, index, (*above, name))
    elif name in index.groups:
        members = _read(index.groups[name]).get("task", [])
        for member in members if isinstance(members, list) else [members]:
            inner = member if isinstance(member, str) else member.get("task")
            if not isinstance(inner, str) or (isinstance(member, dict) and len(member) > 1):
                raise UsageError(f"group {above[0] if above else name!r} changes its tasks; name them singly")
            yield from _expand(inner, index, (*above, name))
    else:
        raise UsageError(f"group {above[-1]!r} of lmms-eval names {name!r}, which it does not have")


@lru_cache(maxsize=4)
def _index(folder: Path) -> _Index:
    """Every name, by searching the files' text: parsing all of them takes a hundred times as long."""
    tasks: dict[str, Path] = {}
    tagged: list[tuple[str, Path]] = []
    grouping: list[Path] = []
    for path in _yaml_files(folder):
        text = path.read_text(encoding="utf-8", errors="replace")
        if _CLASS.search(text):
            continue
        scalars = {kind: name for kind, name in _SCALAR.findall(text)}
        if "task" in scalars:
            tasks[scalars["task"]] = path
            if _TAG.search(text):
                tagged.append((scalars["task"], path))
        elif _GROUP.search(text):
            grouping.append(path)
    return _Index(tasks, tuple(tagged), tuple(grouping))


def _yaml_files(folder: Path) -> Iterator[Path]:
    for current, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".yaml"):
                yield Path(current, name)


def _leaf(name: str, path: Path) -> LeafSpec:
    files: dict[Path, None] = {}
    config = _merged(path, files)
    return LeafSpec(name=name, path=path, config=config, files=tuple(files))


def _merged(path: Path, files: dict[Path, None]) -> dict[str, Any]:
    """A file's settings over those that it includes; ``files`` collects what they come from."""
    files[path] = None
    own = _read(path)
    for module in sorted(_modules(own)):
        beside = path.parent / f"{module}.py"
        if beside.is_file():
            files[beside] = None
    included = own.pop("include", [])
    config: dict[str, Any] = {}
    for other in reversed([included] if isinstance(included, str) else included):
        config.update(_merged(path.parent / other, files))
    return {**config, **own}


def _modules(value: object) -> set[str]:
    """The modules of the functions that settings name."""
    if isinstance(value, str):
        named = value.removeprefix(_FUNCTION)
        return {named.rpartition(".")[0]} if value.startswith(_FUNCTION) else set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {module for one in inner for module in _modules(one)}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(_TAGGED.sub(r'"\g<0>"', path.read_text(encoding="utf-8")), _LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InfrastructureError(f"{path.name} of lmms-eval cannot be read ({error}); {RECIPE}") from error
    return document if isinstance(document, dict) else {}
