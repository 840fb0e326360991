"""Vision encoders: frame → [num_tokens, width]. The contract is in :mod:`harness.encoders.base`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness.errors import UsageError

SHIPPED_ENCODER = "patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Which vision encoder a model has: a registered type and its settings.

    ``weights`` is a checkpoint folder that settings and weights are read from. Without it the shipped type
    with its own settings has the shipped weights, and every other encoder has random ones.
    """

    type: str = SHIPPED_ENCODER
    config: Mapping[str, object] = field(default_factory=dict)
    weights: Path | None = None

    @property
    def is_shipped(self) -> bool:
        return self.type == SHIPPED_ENCODER and not self.config and self.weights is None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the command line's form: ``patch`` is the shipped encoder, else ``TYPE:DIR``."""
        name, colon, folder = text.partition(":")
        if colon and folder:
            return cls(type=name, weights=Path(folder))
        if colon or name != SHIPPED_ENCODER:
            raise UsageError(
                f"encoder {text!r} names no weights; write TYPE:DIR with the folder of its checkpoint "
                f"(siglip:DIR, qwen2.5-vl:DIR), or {SHIPPED_ENCODER} for the shipped encoder"
            )
        return cls()
