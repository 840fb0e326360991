"""The classes that run as published models, by ``model_type``: those of ``transformers`` with an adapter
here, and those of adapters from plugins."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import registry

if TYPE_CHECKING:
    from harness.published_models.family import Family

FAMILIES = {
    "qwen2_5_vl": "qwen:Qwen2_5VL",
    "qwen3_vl": "qwen:Qwen3VL",
    "llava_onevision": "insertion:LlavaOnevision",
    "smolvlm": "insertion:SmolVLM",
    "idefics3": "insertion:Idefics3",
    "idefics2": "insertion:Idefics2",
    "mllama": "cross:Mllama",
    "idefics": "cross:Idefics",
    "casa_helium1": "casa:CasaHelium",
    "casa_qwen2_5_vl": "casa:CasaQwen",
}
_CASA = {"helium1": "casa_helium1", "qwen2_5_vl": "casa_qwen2_5_vl"}
"""Repositories of these models write more into their ``model_type``, as ``CASA_Helium1_VL_2B``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyEntry:
    """A supported class, as ``harness list`` shows it."""

    name: str
    summary: str
    architecture: str
    not_streamed: str | None


def supported() -> tuple[str, ...]:
    """Every ``model_type`` with an adapter: the shipped ones, then those of plugins."""
    return (*FAMILIES, *registry.families)


def known_type(model_type: str) -> str | None:
    """The name in this table of a config's ``model_type``, or None."""
    if model_type in supported():
        return model_type
    name = model_type.lower()
    if "casa" not in name:
        return None
    return next((found for part, found in _CASA.items() if part in name), None)


def family_class(model_type: str) -> type[Family]:
    """The adapter of a ``model_type``; raises UsageError for an unknown one."""
    model_type = known_type(model_type) or model_type
    if model_type not in FAMILIES:
        return registry.families.get(model_type)
    module, _, name = FAMILIES[model_type].partition(":")
    found: type[Family] = getattr(importlib.import_module(f"harness.published_models.{module}"), name)
    return found


def entries() -> list[FamilyEntry]:
    """Every supported class, in that order."""
    out = []
    for model_type in supported():
        family = family_class(model_type)
        out.append(
            FamilyEntry(
                name=model_type,
                summary=f"{family.title}: {family.fusion}",
                architecture=family.architecture,
                not_streamed=family.not_streamed,
            )
        )
    return out
