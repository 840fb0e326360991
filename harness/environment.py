"""Where a cell runs: versions, processor, graphics card, and the commit of the harness's own source."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import harness
from harness.records import Environment

_SOURCE = Path(harness.__file__).resolve().parent
_CODE = ("harness", "fusion_impls", "tasks")
_UNKNOWN = "unknown"


def describe(*, device: str = "cpu", threads: int | None = None) -> Environment:
    """The environment of this process. Never raises: what cannot be found out is None or "unknown".

    ``threads`` None takes torch's own number where torch is loaded. The graphics card is asked for only when
    ``device`` is a CUDA device, since asking claims memory on it.
    """
    commit, dirty = source_commit()
    gpu, cuda = _gpu(device)
    return Environment(
        harness=harness.__version__,
        python=platform.python_version(),
        torch=_version("torch"),
        transformers=_version("transformers"),
        platform=platform.platform(),
        cpu=_cpu_model(),
        cpu_count=os.cpu_count() or 1,
        threads=threads if threads is not None else _threads(),
        gpu=gpu,
        cuda=cuda,
        commit=commit,
        dirty=dirty,
    )


@lru_cache(maxsize=1)
def source_commit() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the harness's source as it was at the first call; None outside a checkout.

    A checkout counts only when it tracks this package: an installed copy inside somebody's repository does
    not. The flag covers the folders that hold code, untracked files included.
    """
    root = _SOURCE.parent
    if _git(root, "ls-files", "--error-unmatch", "harness/__init__.py") is None:
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", *(name for name in _CODE if (root / name).exists()))
    return commit or None, None if status is None else bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except Exception:
        return _UNKNOWN


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or platform.machine() or _UNKNOWN


def _threads() -> int:
    torch = sys.modules.get("torch")
    try:
        return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1
    except Exception:
        return os.cpu_count() or 1


def _gpu(device: str) -> tuple[str | None, str | None]:
    if not device.startswith("cuda"):
        return None, None
    try:
        import torch

        return torch.cuda.get_device_name(device), torch.version.cuda
    except Exception:
        return None, None
