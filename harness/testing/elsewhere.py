"""What a task shows in another process: there, hashes of texts, and so the order of a set, are others."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.measure.stored import as_json
from harness.settings import build_config, changed
from harness.task import Sample, Task, TaskConfig, View
from harness.testing.failures import ViolationError

_SEED = "PYTHONHASHSEED"


def reachable(cls: type[Task]) -> bool:
    """Whether another process can import the class: it stands in a file, and in no function."""
    module = sys.modules.get(cls.__module__)
    own = getattr(module, "__file__", None) is not None and cls.__module__ != "__main__"
    return own and getattr(module, cls.__qualname__, None) is cls


def digests(samples: Sequence[Sample]) -> list[str]:
    """A hash over all of each sample."""
    return [hashlib.sha256(as_json(sample).encode()).hexdigest() for sample in samples]


def digests_elsewhere(cls: type[Task], config: TaskConfig, view: View) -> list[str]:
    """The same of a view's samples in another process; raises ViolationError where that fails."""
    asked = {
        "module": cls.__module__,
        "file": str(Path(str(sys.modules[cls.__module__].__file__)).resolve()),
        "name": cls.__qualname__,
        "config": changed(config),
        "view": dataclasses.asdict(view),
    }
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness.testing.elsewhere"],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": path, _SEED: "2" if os.environ.get(_SEED) == "1" else "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), f"status {done.returncode}")
        raise ViolationError(f"another process fails: {last}", "the task leans on what only this process has")
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Answer one question of :func:`digests_elsewhere`, asked on standard input."""
    asked = json.load(sys.stdin)
    cls = getattr(_module(asked["module"], asked["file"]), asked["name"])
    task = cls(build_config(cls.Config, asked["config"], asked["name"]))
    print(json.dumps(digests(list(task.samples(View(**asked["view"]))))))


def _module(name: str, file: str) -> object:
    try:
        return importlib.import_module(name)
    except ImportError:  # A plugin's, which is known by its file.
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


if __name__ == "__main__":
    main()
