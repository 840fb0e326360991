"""Names to what they stand for, with errors that say what may have been meant; whether a device is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from harness import registry
from harness.errors import InfrastructureError, UsageError

if TYPE_CHECKING:
    from harness.backbones import BackboneSpec
    from harness.registry import BrokenPlugin, Registry

T = TypeVar("T")


def lookup(known: Registry[T], name: str, broken: Sequence[BrokenPlugin]) -> T:
    """The registered item; an unknown name is answered with near matches and the plugins that broke."""
    try:
        return known.get(name)
    except UsageError as error:
        if not broken:
            raise
        plugins = "; ".join(f"plugin {plugin.source} ({plugin.error})" for plugin in broken)
        raise UsageError(f"{error}; what could not be imported is missing: {plugins}") from None


def lookup_backbone(name: str, broken: Sequence[BrokenPlugin]) -> BackboneSpec:
    """The backbone of a registered name or of a folder."""
    from harness.backbones import is_folder, resolve

    return resolve(name) if is_folder(name) else lookup(registry.backbones, name, broken)


def require_device(device: str) -> None:
    """Raise InfrastructureError unless torch can use the device."""
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise InfrastructureError(
            f"device {device!r} is not there: torch {torch.__version__} sees {count} CUDA device(s); "
            "use --device cpu, or install a torch build with CUDA on a machine with a GPU"
        )
