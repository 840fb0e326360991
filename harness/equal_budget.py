"""One parameter budget for all methods of a backbone (docs/design/equal_budget.md)."""

from __future__ import annotations

import json
from collections.abc import Hashable

import torch

from harness.backbones import BackboneSpec
from harness.backbones.decoder import Decoder
from harness.encoders.base import Encoder
from harness.fusion import FusionConfig, FusionMethod
from harness.settings import config_json
from harness.vlm import FusedModel

_known: dict[Hashable, int] = {}
"""Widths that were found: a run counts or makes the models of a few methods over and over."""


def matched_intermediate_size(
    method: type[FusionMethod], config: FusionConfig, spec: BackboneSpec, encoder: Encoder
) -> int:
    """The FFN width at which the fused model has the backbone's parameter budget, a multiple of 8.

    Counted on tensors without storage. The spec's own width where it sets no budget.
    """
    if spec.parameter_budget is None:
        return spec.intermediate_size
    backbone = (spec.config, spec.tokenizer, spec.intermediate_size, spec.parameter_budget)
    settings = [config_json(one) for one in (config, encoder.settings)]
    asked = (method, type(encoder), json.dumps(settings, sort_keys=True), backbone)
    if asked not in _known:
        _known[asked] = _matched(method, config, spec, encoder, spec.parameter_budget)
    return _known[asked]


def _matched(
    method: type[FusionMethod], config: FusionConfig, spec: BackboneSpec, encoder: Encoder, budget: int
) -> int:
    tokenizer = spec.tokenizer()

    def count(width: int) -> int:
        with torch.device("meta"):
            decoder = Decoder(spec.config(width, tokenizer.get_vocab_size()))
            fusion = method(config, decoder)
            return FusedModel(decoder, encoder, fusion, tokenizer, special=spec.special).parameter_count()

    base, step = count(spec.intermediate_size), 64
    per_unit = (count(spec.intermediate_size + step) - base) / step
    wanted = spec.intermediate_size + (budget - base) / per_unit
    return max(8, 8 * round(wanted / 8))
