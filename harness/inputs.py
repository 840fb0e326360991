"""What a run is given beside what names its cells: the part of a record that `harness eval` needs again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records import Inputs, PluginFile

if TYPE_CHECKING:
    from harness.plan import CellJob
    from harness.spec import EvalSpec


def given(path: Path) -> str:
    """The path as it was given; relative to the working directory where it lies below, as another checkout
    of the same project has it."""
    if path.is_absolute():
        here = Path.cwd()
        for candidate in (path, path.resolve()):
            if candidate.is_relative_to(here):
                return str(candidate.relative_to(here))
    return str(path)


def inputs_of(spec: EvalSpec, backbone: str | None) -> Inputs:
    """The inputs of a specification; ``backbone`` is a folder or the hub's, None for a registered name."""
    if backbone is not None:
        backbone = given(Path(backbone))
        # A bare word could be a registered name elsewhere.
        backbone = backbone if os.sep in backbone else os.path.join(os.curdir, backbone)
    return Inputs(
        plugins=_plugins([given(path) for path in spec.plugins], spec.plugins),
        models=tuple(given(folder) for folder in spec.models),
        backbone=backbone,
        timeout_s=spec.timeout_s,
        trust_remote_code=spec.trust_remote_code,
    )


def inputs_now(job: CellJob) -> Inputs | None:
    """The job's inputs with its plugins as they are now, which is what its process imports."""
    if job.inputs is None:
        return None
    names = [plugin.path for plugin in job.inputs.plugins]
    return job.inputs.model_copy(update={"plugins": _plugins(names, job.plugins)})


def _plugins(names: Sequence[str], files: Sequence[Path]) -> tuple[PluginFile, ...]:
    return tuple(PluginFile(path=name, sha256=_sha256(file)) for name, file in zip(names, files, strict=True))


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        return None
