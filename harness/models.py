"""Building, saving, finding, loading and grafting fused models. A model is one folder (see
:mod:`harness.modelfiles`).

The shipped models lie in ``SHIPPED/<method>/seed<k>`` in half precision; the frozen vision encoder that all
share lies in ``SHIPPED/encoder``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import registry
from harness.backbones import BackboneSpec, resolve
from harness.backbones.checkpoint import fused_backbone, load_decoder
from harness.backbones.decoder import Decoder, empty_lm
from harness.encoders import SHIPPED_ENCODER, EncoderSpec
from harness.encoders.base import Encoder
from harness.encoders.patch import PatchEncoder
from harness.equal_budget import matched_intermediate_size
from harness.errors import UsageError
from harness.fusion import FusionConfig
from harness.modelfiles import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    EncoderEntry,
    ModelConfig,
    fill,
    read_config,
    read_json,
    read_tensors,
    replace,
    save_tensors,
    weights_digest,
)
from harness.settings import build_config, config_json
from harness.tokenizer import extended, unknown_words
from harness.vlm import FusedModel, TrainedRange

__all__ = [
    "CONFIG",
    "SHIPPED",
    "WEIGHTS",
    "Grafted",
    "ModelConfig",
    "build_model",
    "find_weights",
    "full_config",
    "graft",
    "load_model",
    "method_config",
    "new_config",
    "read_config",
    "save_model",
    "starting_config",
    "starting_model",
    "untrained",
    "weights_digest",
]

SHIPPED = Path(__file__).parent / "reference_models"


def method_config(method: str, settings: Mapping[str, object]) -> FusionConfig:
    """A method's config from settings; unknown fields are answered with near matches."""
    return build_config(registry.methods.get(method).Config, settings, f"method {method!r}")


def full_config(method: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Every field of a method's config, defaults included, as JSON values."""
    return config_json(method_config(method, settings))


def shipped_encoder() -> Encoder:
    """The shipped vision encoder, frozen."""
    return PatchEncoder.from_checkpoint(SHIPPED / "encoder").requires_grad_(False)


@functools.cache
def _shipped_digest() -> str:
    return shipped_encoder().digest


def make_encoder(spec: EncoderSpec, seed: int) -> Encoder:
    """The encoder of a spec: shipped, read from a checkpoint, or random from the seed."""
    registry.discover()
    cls = registry.encoders.get(spec.type)
    if spec.is_shipped:
        return shipped_encoder()
    if spec.weights is not None:
        return cls.from_checkpoint(spec.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(build_config(cls.Config, spec.config, f"encoder {spec.type!r}"))


def new_config(
    method: str,
    settings: Mapping[str, object],
    backbone: str,
    seed: int,
    words: Iterable[str] = (),
    encoder: Encoder | None = None,
) -> ModelConfig:
    """The config of an untrained model, its FFN width matched to the backbone's parameter budget.

    ``words`` are those that it must be able to read and answer. The encoder is the backbone's own by default.
    """
    spec = resolve(backbone)
    encoder = encoder if encoder is not None else make_encoder(spec.encoder, seed)
    tokenizer = spec.tokenizer()
    fusion = registry.methods.get(method)
    width = matched_intermediate_size(fusion, method_config(method, settings), spec, encoder)
    shipped = encoder.name == SHIPPED_ENCODER and encoder.digest == _shipped_digest()
    config = ModelConfig(
        method=method,
        method_config=full_config(method, settings),
        backbone=spec.name,
        intermediate_size=width,
        encoder_digest=encoder.digest,
        seed=seed,
        extra_words=unknown_words(tokenizer, words) if spec.special is None else (),
        encoder=None if shipped else EncoderEntry(type=encoder.name, config=config_json(encoder.settings)),
    )
    if spec.name in registry.backbones or spec.special is None:
        return config
    decoder = spec.config(width, tokenizer.get_vocab_size()).to_dict()
    own = {"decoder": decoder, "start": spec.special.start, "stops": spec.special.stops}
    return config.model_copy(update=own)


def untrained(config: ModelConfig, spec: BackboneSpec | None = None) -> FusedModel:
    """The model of a config with its initial weights, a function of the config's seed."""
    spec = spec if spec is not None else registry.backbones.get(config.backbone)
    return _assemble(config, spec, make_encoder(spec.encoder, config.seed))


def _assemble(
    config: ModelConfig, spec: BackboneSpec, encoder: Encoder, decoder: Decoder | None = None
) -> FusedModel:
    """What a config says around a decoder; the decoder's own random weights where none is given."""
    tokenizer = spec.tokenizer()
    if config.extra_words:
        tokenizer = extended(tokenizer, config.extra_words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if decoder is None:
            decoder = Decoder(spec.config(config.intermediate_size, tokenizer.get_vocab_size()))
        fusion = registry.methods.get(config.method)(
            method_config(config.method, config.method_config), decoder
        )
        return FusedModel(decoder, encoder, fusion, tokenizer, trained_range(config), spec.special)


def trained_range(config: ModelConfig) -> TrainedRange | None:
    """What a model was trained on; None for one that was not."""
    if config.max_frames is None:
        return None
    return TrainedRange(
        tasks=config.tasks, max_frames=config.max_frames, heights=config.heights, widths=config.widths
    )


def build_model(
    method: str,
    config: Mapping[str, object],
    backbone: str,
    seed: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> FusedModel:
    """A model with random weights (a shipped vision encoder has its own), in evaluation mode."""
    spec = resolve(backbone)
    encoder = make_encoder(spec.encoder, seed)
    described = new_config(method, config, backbone, seed, encoder=encoder)
    return _assemble(described, spec, encoder).to(device=device, dtype=dtype).eval()


def starting_model(config: ModelConfig, spec: BackboneSpec) -> FusedModel:
    """What training begins with: random weights, a checkpoint's decoder, or a fused model of that config."""
    if spec.folder is None:
        return untrained(config, spec)
    if spec.fused:
        return load_model(spec.folder)
    decoder, _ = load_decoder(spec.folder, spec.config(0, 0))
    return _assemble(config, spec, make_encoder(spec.encoder, config.seed), decoder)


def starting_config(
    method: str, settings: Mapping[str, object], backbone: str, seed: int, words: Iterable[str]
) -> ModelConfig:
    """The config of what training begins with.

    Raises UsageError for a fused model of another method or of a registered backbone.
    """
    spec = resolve(backbone)
    if spec.folder is None or not spec.fused:
        return new_config(method, settings, backbone, seed, words)
    found = read_config(spec.folder)
    if found.decoder is None:
        raise UsageError(
            f"{spec.folder} is a model of the registered backbone {found.backbone}; "
            f"train on it with --backbone {found.backbone}"
        )
    if (found.method, found.method_config) != (method, full_config(method, settings)):
        raise UsageError(
            f"{spec.folder} is a model of {found.method} with {found.method_config}, which no other method "
            "can continue; give that one, or the decoder's own checkpoint"
        )
    return found.model_copy(update={"seed": seed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafted:
    """What grafting made: the model, where its decoder comes from, and how exactly it is reproduced."""

    model: FusedModel
    config: ModelConfig
    architecture: str
    difference: float
    """Between the blocks' logits and ``transformers``' own, relative to the largest logit."""


def graft(
    method: str,
    settings: Mapping[str, object],
    backbone: str,
    encoder: EncoderSpec,
    seed: int,
    dtype: str | None,
) -> Grafted:
    """A fusion method on a checkpoint's decoder and a vision encoder, with a connector from the seed.

    The decoder's weights are loaded first, so that methods start from its self-attention. ``dtype`` is the
    precision to save in; None keeps the checkpoint's. Raises UsageError for a backbone that is no checkpoint
    folder.
    """
    spec = resolve(backbone)
    if spec.folder is None:
        raise UsageError(
            f"backbone {backbone!r} has no weights to start from; give a decoder's checkpoint folder, "
            "or train the registered backbone with `harness train`"
        )
    if spec.fused:
        raise UsageError(
            f"{backbone} is a fused model already; give the checkpoint folder of its decoder alone"
        )
    described = spec.config(0, 0)
    decoder, difference = load_decoder(spec.folder, described)
    if dtype is not None:
        described.dtype = getattr(torch, dtype)
    tower = make_encoder(encoder, seed)
    if not encoder.is_shipped:
        tower = tower.to(described.dtype).float()
    config = new_config(method, settings, backbone, seed, encoder=tower)
    decoder_json = {**(config.decoder or {}), "dtype": str(described.dtype).removeprefix("torch.")}
    config = config.model_copy(update={"decoder": decoder_json})
    model = _assemble(config, spec, tower, decoder).eval()
    architecture = (described.architectures or [type(described).__name__])[0]
    return Grafted(model=model, config=config, architecture=architecture, difference=difference)


def save_model(model: FusedModel, config: ModelConfig, folder: Path) -> None:
    """Write the tokenizer where it is not the shipped one, ``config.json`` and the weights, in this order.

    Weights are stored in the decoder's own precision where it comes from a checkpoint, else in half
    precision; every file is renamed into place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "float16"
    if config.decoder is not None:
        replace(folder / TOKENIZER, lambda temporary: model.tokenizer.save(str(temporary)))
        dtype = config.decoder.get("dtype") or dtype
    document = config.model_dump_json(indent=2) + "\n"
    replace(folder / CONFIG, lambda temporary: temporary.write_text(document))
    state = model.state_dict()
    save_tensors(
        {name: state[name] for name in _stored(model, config)}, getattr(torch, dtype), folder / WEIGHTS
    )


def load_model(path: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> FusedModel:
    """Load a model folder, in evaluation mode. Errors name the file and what is wrong with it."""
    config = read_config(path)
    spec = fused_backbone(path, config)
    from transformers.initialization import no_init_weights

    with no_init_weights():
        rows = spec.tokenizer().get_vocab_size() + len(config.extra_words)
        described = spec.config(config.intermediate_size, rows)
        decoder = Decoder(described, empty_lm(described))
        encoder = shipped_encoder() if config.encoder is None else make_encoder(spec.encoder, config.seed)
    if config.encoder is None and encoder.digest != config.encoder_digest:
        raise UsageError(
            f"model {path} was trained on vision encoder {config.encoder_digest}, "
            f"but {encoder.digest} is installed; train it again or install the matching version"
        )
    model = _assemble(config, spec, encoder, decoder)
    shared = set(model.state_dict()) - set(_stored(model, config))
    fill(model, read_tensors(path), str(path / WEIGHTS), skip=shared)
    return model.to(device=device, dtype=dtype).eval()


def _stored(model: FusedModel, config: ModelConfig) -> list[str]:
    """The names of the state that a folder holds: each tied tensor once, the shipped encoder not."""
    seen: set[int] = set()
    names = []
    for name, tensor in model.state_dict().items():
        if name.startswith("encoder.") and config.encoder is None:
            continue
        if tensor.data_ptr() not in seen:
            names.append(name)
            seen.add(tensor.data_ptr())
    return names


def find_weights(
    method: str, config: Mapping[str, object], backbone: str, seed: int, search: Sequence[Path] = ()
) -> Path | None:
    """The folder of the model for a method, its settings, backbone and seed: in ``search``, then shipped.

    Settings that a model's folder does not name have their defaults. A model of a registered backbone must
    be trained; one with a checkpoint's decoder may be grafted only. Raises UsageError where none fits but a
    model of unknown content lies in the same place: it may be the one that is meant, and another must not
    quietly take its place.
    """
    wanted = full_config(method, config)
    for roots in (search, [SHIPPED]):
        broken: UsageError | None = None
        for folder in _model_folders(roots):
            try:
                found = read_config(folder)
                if (found.method, found.backbone, found.seed) != (method, backbone, seed):
                    continue
                same = full_config(method, found.method_config) == wanted
            except UsageError as error:
                broken = broken or error
                continue
            if same and (found.max_frames is not None or found.decoder is not None):
                return folder
        if broken is not None:
            raise broken
    return None


def _model_folders(roots: Sequence[Path]) -> Iterator[Path]:
    """Folders of models; checkpoints of decoders and encoders lie among them at times."""
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"models folder {str(root)!r} does not exist; give the --out of `harness train`")
        for current, folders, files in os.walk(root):
            folders.sort()
            folder = Path(current)
            if (
                CONFIG in files
                and WEIGHTS in files
                and folder.name != "encoder"
                and not _is_checkpoint(folder)
            ):
                yield folder


def _is_checkpoint(folder: Path) -> bool:
    try:
        document = read_json(folder / CONFIG)
    except UsageError:
        return False
    return "model_type" in document and "method" not in document
