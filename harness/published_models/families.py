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
}


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


def family_class(model_type: str) -> type[Family]:
    """The adapter of a ``model_type``; raises UsageError for an unknown one."""
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
