"""Whether torchvision is in the way: where it is installed, ``transformers`` imports it, and a wheel made for
another torch cannot be imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

from harness.errors import InfrastructureError


def check_torchvision() -> None:
    """Raise InfrastructureError for a torchvision that cannot be imported; nothing where there is none."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        import torch

        raise InfrastructureError(
            f"torchvision {_version()} cannot be imported with torch {torch.__version__} "
            f"({' '.join(str(error).split())[:120]}), and transformers' image processors import it where "
            "it is there; nothing here needs it: `pip uninstall torchvision`"
        ) from None


def _version() -> str:
    try:
        return importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return "(of unknown version)"
