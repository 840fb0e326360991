"""From a checkpoint's folder to a model that can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from harness.errors import UsageError, in_words
from harness.modelfiles import CONFIG, read_json, weight_files
from harness.published_models import CHECKPOINT, METHOD, PublishedConfig
from harness.published_models.families import family_class
from harness.published_models.family import Family
from harness.published_models.model import PublishedModel
from harness.published_models.own_code import own_code, refusal
from harness.published_models.source import check_code
from harness.published_models.torchvision import check_torchvision
from harness.settings import build_config

_DTYPE = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
"""What ``transformers`` calls the precision to read weights in."""
_QUANTISED = frozenset({"I8", "U8", "F8_E4M3", "F8_E5M2"})
"""Precisions, as safetensors calls them, that mean nothing without the scales that belong to them."""


def load_published(
    folder: Path,
    digest: str,
    settings: Mapping[str, object] | None = None,
    *,
    seed: int | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> PublishedModel:
    """The checkpoint in a folder, in evaluation mode; ``seed`` draws random weights instead.

    ``digest`` names the weights in the cache of encoded frames. Raises UsageError for a folder that lacks
    something, whose weights do not fit or whose code is not trusted, InfrastructureError for a torchvision
    that is in the way.
    """
    check_code(str(folder), folder, None, trust_remote_code)
    check_torchvision()
    family = family_class(str(read_json(folder / CONFIG)["model_type"]))
    config = _config(folder, trust_remote_code)
    images = family.image_processor(folder, trust_remote_code)
    tokenizer = family.tokenizer(images) or _tokenizer(folder, trust_remote_code)
    options = {_DTYPE: dtype, **family.load_options(device, dtype)}
    if seed is not None:
        net = _random(family, folder, config, seed, options, trust_remote_code)
    else:
        net = _read(family, folder, config, options, trust_remote_code)
    adapter = family(net.to(device).eval(), images)
    _check_image_token(folder, adapter)
    adapter.check()
    own = {name: value for name, value in (settings or {}).items() if name != CHECKPOINT}
    if seed is not None:
        digest = f"{digest}-{seed}-{folder.name}"
    return PublishedModel(
        adapter,
        family.chat(folder, tokenizer),
        tokenizer,
        _stops(net, tokenizer),
        f"{digest}-transformers-{transformers.__version__}",
        build_config(PublishedConfig, own, f"method {METHOD!r}"),
    ).eval()


def _config(folder: Path, trust: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    except Exception as error:
        if _is_of_code(folder, error):
            raise UsageError(refusal(folder, error)) from error
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{folder / CONFIG} cannot be read ({reason}); copy the checkpoint again") from error


def _is_of_code(folder: Path, error: Exception) -> bool:
    """Whether an error may come from code that the checkpoint brings, and not from its files."""
    brings = bool(read_json(folder / CONFIG).get("auto_map"))
    return brings and isinstance(error, ImportError | AttributeError | NameError | TypeError)


def _tokenizer(folder: Path, trust: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    except (OSError, ValueError, ImportError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(in_words(error).split())[:160]
        raise UsageError(
            f"{folder} has no tokenizer that can be read ({reason}); copy tokenizer.json and "
            "tokenizer_config.json of the checkpoint too"
        ) from None


def _read(family: type[Family], folder: Path, config: Any, options: dict[str, Any], trust: bool) -> Any:
    _check_precision(folder)
    cls = family.model_class()
    try:
        net, found = cls.from_pretrained(
            folder,
            config=config,
            **options,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # Named below; transformers points to a report of its own.
            output_loading_info=True,
            trust_remote_code=trust,
        )
    except Exception as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise
        if _is_of_code(folder, error):
            raise UsageError(refusal(folder, error)) from error
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{folder} cannot be read ({reason}); copy the checkpoint again") from error
    wrong = sorted(f"{name} (missing)" for name in found["missing_keys"])
    wrong += sorted(f"{name} ({[*has]}, not {[*wants]})" for name, has, wants in found["mismatched_keys"])
    if wrong:
        raise UsageError(
            f"the weights in {folder} do not fit what {CONFIG} says: {len(wrong)} tensor(s) missing or of "
            f"another shape, first {wrong[0]}; copy the checkpoint again"
        )
    return net


def _check_precision(folder: Path) -> None:
    """Raise UsageError for weights of a quantised model whose config does not say how: they would be read as
    if their integers were the weights."""
    if any("quantization_config" in part for part in _parts(read_json(folder / CONFIG))):
        return
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{file} cannot be read ({error}); copy the checkpoint again") from error
        for name, kind in kinds.items():
            if kind in _QUANTISED:
                raise UsageError(
                    f"{file} holds {name} as {kind}, but {CONFIG} has no quantization_config that says what "
                    "it stands for; use the checkpoint as its makers published it"
                )


def _parts(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A config and those of its parts."""
    return [document, *(part for part in document.values() if isinstance(part, dict))]


def _random(
    family: type[Family], folder: Path, config: Any, seed: int, options: dict[str, Any], trust: bool
) -> Any:
    cls = family.model_class()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(cls, "_from_config"):
            return cls._from_config(config, **options)
        with own_code(folder):
            return cls.from_config(config, **options, trust_remote_code=trust)


def _check_image_token(folder: Path, adapter: Family) -> None:
    """Raise UsageError where an image's rows hold a token that the model does not have."""
    if adapter.image_id is None:
        return
    known = adapter.net.get_input_embeddings().weight.shape[0]
    known += getattr(adapter.config, "additional_vocab_size", 0)  # Idefics keeps these apart.
    if not 0 <= adapter.image_id < known:
        raise UsageError(
            f"{folder / CONFIG} says that images stand at token {adapter.image_id}, but the model knows "
            f"{known} tokens, from 0 on; copy the checkpoint again"
        )


def _stops(net: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: the generation settings' and the tokenizer's."""
    named = net.generation_config.eos_token_id
    stops = {*(named if isinstance(named, list | tuple) else [named]), tokenizer.eos_token_id}
    return frozenset(int(token) for token in stops if token is not None)
