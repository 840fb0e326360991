"""Backbones from folders: a decoder's checkpoint in Hugging Face's layout, or a fused model's decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from harness import registry
from harness.backbones import BackboneSpec
from harness.backbones.checks import check_forward
from harness.backbones.decoder import Decoder, empty_lm
from harness.encoders import EncoderSpec
from harness.errors import UsageError
from harness.modelfiles import CONFIG, TOKENIZER, ModelConfig, fill, read_config, read_json, read_tensors
from harness.tokenizer import SpecialTokens

_IGNORED = ("rotary_emb.inv_freq", "masked_bias")
"""Ends of names that old checkpoints hold beside their weights."""


def backbone_of(folder: Path) -> BackboneSpec:
    """The backbone of a decoder's checkpoint or of a fused model; reads no weights. Raises UsageError."""
    document = read_json(folder / CONFIG)
    if "method" in document:
        return fused_backbone(folder, read_config(folder))
    if "model_type" not in document:
        raise UsageError(
            f"{folder / CONFIG} has neither a model_type (a decoder's checkpoint) nor a method (a fused "
            "model); give one of these folders"
        )
    config = decoder_config(document, folder / CONFIG)
    tokenizer = read_tokenizer(folder, config)
    digest = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()[:8]
    return BackboneSpec(
        name=f"{folder.name}@{digest}",
        summary=f"{type(config).__name__} from {folder}",
        config=lambda intermediate_size, vocab_size: config,
        tokenizer=lambda: tokenizer,
        intermediate_size=int(cast("int", getattr(config, "intermediate_size", 0))),
        parameter_budget=None,
        special=special_tokens(folder, config),
        folder=folder,
    )


def fused_backbone(folder: Path, model: ModelConfig) -> BackboneSpec:
    """The backbone of a fused model: the registered one that it names, or the decoder that it holds."""
    encoder = EncoderSpec()
    if model.encoder is not None:
        encoder = EncoderSpec(type=model.encoder.type, config=model.encoder.config)
    if model.decoder is None:
        known = registry.backbones.get(model.backbone)
        return replace(known, folder=folder, fused=True)
    config = decoder_config(model.decoder, folder / CONFIG)
    tokenizer = read_tokenizer(folder, config)
    assert model.start is not None
    return BackboneSpec(
        name=model.backbone,
        summary=f"{type(config).__name__} of the fused model {folder}",
        config=lambda intermediate_size, vocab_size: config,
        tokenizer=lambda: tokenizer,
        intermediate_size=model.intermediate_size,
        parameter_budget=None,
        encoder=encoder,
        special=SpecialTokens(model.start, model.stops),
        folder=folder,
        fused=True,
    )


def decoder_config(document: Mapping[str, Any], path: Path) -> PretrainedConfig:
    """A ``transformers`` config from JSON; raises UsageError for an unknown type of model."""
    values = dict(document)
    kind = values.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **values)
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        raise UsageError(
            f"{path}: transformers makes no model of type {kind!r} of it ({reason}); use a checkpoint whose "
            "code is part of transformers"
        ) from error


def read_tokenizer(folder: Path, config: PretrainedConfig) -> Tokenizer:
    """The ``tokenizer.json`` of a checkpoint; raises UsageError where it is missing or too large."""
    path = folder / TOKENIZER
    if not path.is_file():
        raise UsageError(
            f"{folder} has no {TOKENIZER}; write it with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise UsageError(f"{path} cannot be read ({error}); copy the checkpoint again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    greatest, rows = max(tokenizer.get_vocab().values(), default=0), int(cast("int", config.vocab_size))
    if greatest >= rows:
        raise UsageError(
            f"{path} has a token with id {greatest}, but the decoder embeds {rows} only; "
            "the two belong to different checkpoints"
        )
    return tokenizer


def special_tokens(folder: Path, config: PretrainedConfig) -> SpecialTokens:
    """Start and stop tokens of a checkpoint.

    Stops are the ``eos_token_id`` of ``generation_config.json``, else of ``config.json``. Where neither file
    names a ``bos_token_id`` a stream starts with the first stop token, which also stands between documents.
    """
    path = folder / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    stops = _ids(generation.get("eos_token_id")) or _ids(config.eos_token_id)
    starts = _ids(config.bos_token_id) or _ids(generation.get("bos_token_id")) or stops[:1]
    if not stops:
        raise UsageError(
            f"{folder / CONFIG} names no eos_token_id, so no answer would end; add the id of the end token"
        )
    rows = int(cast("int", config.vocab_size))
    for token in (*starts, *stops):
        if not 0 <= token < rows:
            raise UsageError(
                f"{folder / CONFIG} names the special token {token}, but the decoder embeds {rows} only; "
                "set bos_token_id and eos_token_id to ids of the tokenizer"
            )
    return SpecialTokens(starts[0], stops)


def _ids(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(cast("int", value)),)


def load_decoder(folder: Path, config: PretrainedConfig) -> tuple[Decoder, float]:
    """A checkpoint's decoder in float32, and how far its blocks are from ``transformers``' forward pass.

    The distance is relative to the largest logit. Raises UsageError for weights that do not fit the config
    and for a decoder that the blocks here do not reproduce.
    """
    lm = empty_lm(config)
    tensors = read_tensors(folder)
    tied = _tied(lm)
    kept = {
        name: tensor for name, tensor in tensors.items() if not name.endswith(_IGNORED) and name not in tied
    }
    fill(lm, kept, str(folder), skip=tied)
    if config.dtype is None:
        config.dtype = kept["model.embed_tokens.weight"].dtype
    decoder = Decoder(config, lm)
    with torch.no_grad():
        return decoder, check_forward(lm.eval(), decoder)


def _tied(lm: nn.Module) -> set[str]:
    """Names whose tensor another name holds already: the head that is the embedding."""
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    state = lm.state_dict(keep_vars=True)
    return {head} if state[head] is state[embedding] else set()
