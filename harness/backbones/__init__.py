"""Backbones: decoder language models from ``transformers``, seen as the sub-modules that fusion methods
compose."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.encoders import EncoderSpec
from harness.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

    from harness.tokenizer import SpecialTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """A decoder by config, with the vision encoder that its models have.

    ``config(intermediate_size, vocab_size)`` builds the ``transformers`` config. Where
    ``parameter_budget`` is set, the FFN width is chosen per method so that every fused model has that many
    trainable parameters. A backbone that was read from a folder has the ``folder``; its config is the
    folder's, whatever the arguments.
    """

    name: str
    summary: str
    config: Callable[[int, int], PretrainedConfig]
    tokenizer: Callable[[], Tokenizer]
    intermediate_size: int
    parameter_budget: int | None
    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    special: SpecialTokens | None = None
    """Start and stop tokens; None takes those of the shipped tokenizer."""
    folder: Path | None = None
    fused: bool = False
    """The folder holds a fused model, not a decoder alone."""


def is_folder(name: str) -> bool:
    """Whether ``--backbone NAME`` means a folder: it looks like a path, or is one and no registered name."""
    from harness import registry

    if name in registry.backbones:
        return False
    return os.sep in name or name.startswith((".", "~")) or Path(name).is_dir()


def resolve(name: str) -> BackboneSpec:
    """The backbone of a registered name, of a decoder's checkpoint folder, or of a fused model's folder.

    Raises UsageError for an unknown name, for a folder that lacks something, and for a whole vision-language
    model, which has no blocks that a method could compose.
    """
    from harness import registry
    from harness.published_models.names import is_published

    if is_published(name):
        raise UsageError(
            f"{name!r} is a whole vision-language model with its own fusion, which `harness eval` measures; "
            "here a decoder is needed: give a registered backbone, a decoder's checkpoint or a fused model"
        )

    if not is_folder(name):
        return registry.backbones.get(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"backbone folder {name!r} does not exist; give a checkpoint folder or a registered name "
            f"({', '.join(registry.backbones)})"
        )
    from harness.backbones.checkpoint import backbone_of

    return backbone_of(folder.absolute())
