"""Models to count: of any size on the meta device, where tensors have shapes and no storage, or real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness import registry
from harness.backbones import resolve
from harness.backbones.decoder import Decoder
from harness.counting.records import CountKey, Substrate
from harness.encoders import EncoderSpec
from harness.encoders.base import Encoder
from harness.equal_budget import matched_intermediate_size
from harness.models import make_encoder, method_config
from harness.vlm import FusedModel


def build(key: CountKey, substrate: Substrate) -> FusedModel:
    """The model of a scenario, in evaluation mode, with random weights or none."""
    spec, dtype = resolve(key.backbone), getattr(torch, key.dtype)
    config, tokenizer = method_config(key.method, key.method_config), spec.tokenizer()
    shapes = make_shapes(spec.encoder, dtype)
    method = registry.methods.get(key.method)
    width = matched_intermediate_size(method, config, spec, shapes)
    with _made_on(substrate, dtype), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = shapes if substrate == "meta" else make_encoder(spec.encoder, seed=0)
        decoder = Decoder(spec.config(width, tokenizer.get_vocab_size()))
        fusion = method(config, decoder)
        model = FusedModel(decoder, encoder, fusion, tokenizer, special=spec.special)
    # A cast would take the rotary frequencies along: it is real tensors only that they are kept apart on.
    return (model if substrate == "meta" else model.to(dtype=dtype)).eval()


def make_shapes(spec: EncoderSpec, dtype: torch.dtype = torch.float32) -> Encoder:
    """A vision encoder on the meta device."""
    with _made_on("meta", dtype):
        return make_encoder(spec, seed=0).to(device="meta", dtype=dtype)


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Make tensors on a device and in a precision, as a real model has them after its cast."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
