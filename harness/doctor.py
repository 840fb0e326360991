"""What is missing or broken on this machine, each finding with the command that mends it.

A check never raises and never changes anything. ``failed`` means that something the harness needs does not
work; ``missing`` that something optional is not there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from harness.files import cache_folder
from harness.lmms.catalogue import PINNED, RECIPE, installed

Status = Literal["ok", "missing", "failed"]

LEAST_FREE_GIB = 5.0
"""What a torch with its libraries, or a handful of videos, takes."""
_HUB_TIMEOUT_S = 5.0
DISTRIBUTION = "vlm-fusion-harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``fix`` is a command or an instruction; None where all is well."""

    name: str
    status: Status
    detail: str
    fix: str | None = None


def examine(*, hub: bool = True) -> list[Finding]:
    """Every check in turn; ``hub`` False leaves out the one that needs the network."""
    checks: list[Callable[[], Finding]] = [_python, _packages, _torch, _gpu, _torchvision, _video, _disk]
    checks += [_hub] if hub else []
    checks += [_lmms_eval, _lmms_packages]
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        name = check.__name__.strip("_<>")
        return Finding(
            name=name, status="failed", detail=f"{type(error).__name__}: {error}", fix="report this"
        )


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    fix = None if good else "install Python 3.11 or newer and make the environment again"
    return Finding(name="python", status="ok" if good else "failed", detail=version, fix=fix)


def _packages() -> Finding:
    broken = list(_unmet(""))
    if broken:
        fix = "pip install -c constraints.txt -e ."
        return Finding(name="packages", status="failed", detail="; ".join(broken), fix=fix)
    return Finding(name="packages", status="ok", detail="all that the harness requires is there")


def _unmet(extra: str) -> Iterator[str]:
    """The requirements of the harness, or of one extra alone, that what is installed does not meet."""
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        if extra and marker is None:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is not {requirement.specifier}"


def _import_error(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return None


def _torch() -> Finding:
    import torch

    build = "CUDA " + torch.version.cuda if torch.version.cuda else "CPU only"
    return Finding(name="torch", status="ok", detail=f"{torch.__version__} ({build})")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding(name="gpu", status="ok", detail=", ".join(names))
    if Path("/proc/driver/nvidia").exists():
        return Finding(
            name="gpu",
            status="failed",
            detail="there is an NVIDIA driver, but this torch does not see a card",
            fix="pip install --force-reinstall --no-deps torch from the index of a CUDA build (TORCH_INDEX)",
        )
    return Finding(
        name="gpu", status="missing", detail="no CUDA device; memory is counted on the CPU (--device cpu)"
    )


def _torchvision() -> Finding:
    """torchvision of another build than torch breaks the processors of transformers, which try it."""
    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return Finding(name="torchvision", status="ok", detail="not installed, and not needed")
    broken = _import_error("torchvision")
    if broken is not None:
        return Finding(
            name="torchvision",
            status="failed",
            detail=f"{version} does not go with this torch: {broken}",
            fix="pip uninstall -y torchvision timm",
        )
    return Finding(name="torchvision", status="ok", detail=version)


def _video() -> Finding:
    """A clip of two frames, encoded and decoded."""
    import numpy as np

    from harness.media.video import decode, encode_h264

    data = encode_h264(np.zeros((2, 16, 16, 3), np.uint8), 2)
    if len(decode(data, [0, 1], "trial")) != 2:
        raise ValueError("a clip of two frames came back with fewer")
    return Finding(name="video", status="ok", detail="H.264 is encoded and decoded (PyAV)")


def _disk() -> Finding:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    detail = f"{free:.0f} GiB free for caches"
    if not os.access(folder, os.W_OK):
        return Finding(
            name="disk",
            status="failed",
            detail=f"the cache folder cannot be written; {detail}",
            fix="set HARNESS_CACHE to a folder that can be written",
        )
    if free < LEAST_FREE_GIB:
        fix = f"free {LEAST_FREE_GIB:.0f} GiB, or set HARNESS_CACHE to another disk"
        return Finding(name="disk", status="failed", detail=detail, fix=fix)
    return Finding(name="disk", status="ok", detail=detail)


def _hub() -> Finding:
    from huggingface_hub import constants, get_session

    try:
        url = f"{constants.ENDPOINT}/api/datasets?limit=1"
        get_session().get(url, timeout=_HUB_TIMEOUT_S).raise_for_status()
    except Exception as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        return Finding(
            name="hub",
            status="missing",
            detail=f"not reached ({reason}); lmms:NAME needs --data DIR then",
            fix="unset HF_HUB_OFFLINE, check the network or HF_ENDPOINT; `hf auth login` for gated data",
        )
    return Finding(name="hub", status="ok", detail="data sets can be listed")


def _lmms_eval() -> Finding:
    version = installed()
    if version is None:
        return Finding(name="lmms-eval", status="missing", detail="not installed", fix=RECIPE)
    if version != PINNED:
        return Finding(
            name="lmms-eval",
            status="failed",
            detail=f"{version}; the harness is tested with {PINNED}",
            fix=f"pip install --no-deps lmms-eval=={PINNED}",
        )
    return Finding(name="lmms-eval", status="ok", detail=version)


def _lmms_packages() -> Finding:
    if installed() is None:
        return Finding(
            name="for lmms-eval", status="missing", detail="not needed before lmms-eval", fix=RECIPE
        )
    broken = list(_unmet("lmms"))
    error = None if broken else _import_error("lmms_eval.models.registry_v2")
    if broken or error:
        return Finding(
            name="for lmms-eval",
            status="failed",
            detail="; ".join(broken) or str(error),
            fix="pip install -c constraints.txt -e '.[lmms]'",
        )
    return Finding(name="for lmms-eval", status="ok", detail="what its common tasks import is there")
