"""Backbones: decoder language models from ``transformers``, seen as the sub-modules that fusion methods
compose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """A decoder by config.

    ``config(intermediate_size, vocab_size)`` builds the ``transformers`` config. Where
    ``parameter_budget`` is set, the FFN width is chosen per method so that every fused model has that many
    trainable parameters.
    """

    name: str
    summary: str
    config: Callable[[int, int], PretrainedConfig]
    tokenizer: Callable[[], Tokenizer]
    intermediate_size: int
    parameter_budget: int | None
