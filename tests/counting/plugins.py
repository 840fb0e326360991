"""Methods that count otherwise than they should, as plugin files, for one test each."""

from __future__ import annotations

PRELUDE = """
import torch
from harness.fusion import Step
from harness.fusion_impls.vanilla_ca import VanillaCA
from harness.registry import register_method

KEPT = []


@register_method("planted")
class Planted(VanillaCA):
    def begin(self, step: Step) -> None:
        y = step.layout.images.tokens
"""
FIRST = PRELUDE.count("\n") + 1
"""The number of the planted line."""


def planted(line: str) -> str:
    """The source of a method named ``planted`` that runs one more line with a chunk's image tokens ``y``."""
    return f"{PRELUDE}        {line}\n        super().begin(step)\n"
