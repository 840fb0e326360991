"""Building, saving, finding and loading fused models. A model is one folder: ``config.json`` and
``model.safetensors``.

The shipped models lie in ``SHIPPED/<method>/seed<k>``; the frozen vision encoder that all share lies in
``SHIPPED/encoder``. Weights are stored in half precision and never pickled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from harness import registry
from harness.backbones import BackboneSpec
from harness.backbones.decoder import Decoder
from harness.encoders.patch import PatchEncoder, PatchEncoderConfig
from harness.errors import InfrastructureError, UsageError
from harness.fusion import FusionConfig, FusionMethod
from harness.settings import build_config, config_json
from harness.tokenizer import extended, unknown_words
from harness.vlm import FusedModel, TrainedRange

SHIPPED = Path(__file__).parent / "reference_models"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class ModelConfig(BaseModel):
    """What ``config.json`` holds: enough to build the model without its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    method_config: dict[str, Any]
    backbone: str
    intermediate_size: int = Field(gt=0)
    encoder_digest: str
    seed: int
    extra_words: tuple[str, ...] = ()
    """Words of the tasks trained on that the backbone's tokenizer lacks."""
    tasks: tuple[str, ...] = ()
    max_frames: int | None = Field(default=None, gt=0)
    heights: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _sizes_where_trained(self) -> Self:
        if self.max_frames is not None and not (self.heights and self.widths):
            raise ValueError("a trained model names the heights and widths that it was trained on")
        return self

    @property
    def trained_on(self) -> TrainedRange | None:
        if self.max_frames is None:
            return None
        return TrainedRange(
            tasks=self.tasks, max_frames=self.max_frames, heights=self.heights, widths=self.widths
        )


def method_config(method: str, settings: Mapping[str, object]) -> FusionConfig:
    """A method's config from settings; unknown fields are answered with near matches."""
    return build_config(registry.methods.get(method).Config, settings, f"method {method!r}")


def full_config(method: str, settings: Mapping[str, object]) -> dict[str, Any]:
    """Every field of a method's config, defaults included, as JSON values."""
    return config_json(method_config(method, settings))


def load_encoder() -> PatchEncoder:
    """The shipped vision encoder, frozen."""
    encoder = PatchEncoder(PatchEncoderConfig())
    path = SHIPPED / "encoder" / WEIGHTS
    _load_weights(encoder, path)
    return encoder.requires_grad_(False)


def matched_intermediate_size(method: str, config: FusionConfig, spec: BackboneSpec) -> int:
    """The FFN width at which the fused model has the backbone's parameter budget, a multiple of 8.

    Counted on tensors without storage. The spec's own width where it sets no budget.
    """
    if spec.parameter_budget is None:
        return spec.intermediate_size

    tokenizer = spec.tokenizer()

    def count(width: int) -> int:
        with torch.device("meta"):
            decoder = Decoder(spec.config(width, tokenizer.get_vocab_size()))
            encoder = PatchEncoder(PatchEncoderConfig())
            fusion = registry.methods.get(method)(config, decoder)
            return FusedModel(decoder, encoder, fusion, tokenizer).parameter_count()

    base, step = count(spec.intermediate_size), 64
    per_unit = (count(spec.intermediate_size + step) - base) / step
    wanted = spec.intermediate_size + (spec.parameter_budget - base) / per_unit
    return max(8, 8 * round(wanted / 8))


def _assemble(config: ModelConfig, encoder: PatchEncoder) -> FusedModel:
    spec = registry.backbones.get(config.backbone)
    method = registry.methods.get(config.method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tokenizer = extended(spec.tokenizer(), config.extra_words)
        decoder = Decoder(spec.config(config.intermediate_size, tokenizer.get_vocab_size()))
        fusion: FusionMethod = method(method_config(config.method, config.method_config), decoder)
        return FusedModel(decoder, encoder, fusion, tokenizer, config.trained_on)


def new_config(
    method: str, settings: Mapping[str, object], backbone: str, seed: int, words: Iterable[str] = ()
) -> ModelConfig:
    """The config of an untrained model, its FFN width matched to the backbone's parameter budget.

    ``words`` are those that it must be able to read and answer.
    """
    spec = registry.backbones.get(backbone)
    return ModelConfig(
        method=method,
        method_config=full_config(method, settings),
        backbone=backbone,
        intermediate_size=matched_intermediate_size(method, method_config(method, settings), spec),
        encoder_digest=load_encoder().digest,
        seed=seed,
        extra_words=unknown_words(spec.tokenizer(), words),
    )


def untrained(config: ModelConfig) -> FusedModel:
    """The model of a config with its initial weights, a function of the config's seed."""
    return _assemble(config, load_encoder())


def build_model(
    method: str,
    config: Mapping[str, object],
    backbone: str,
    seed: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> FusedModel:
    """A model with random weights (the vision encoder is the shipped one), in evaluation mode."""
    model = untrained(new_config(method, config, backbone, seed))
    return model.to(device=device, dtype=dtype).eval()


def save_model(model: FusedModel, config: ModelConfig, folder: Path) -> None:
    """Write ``config.json`` and half-precision weights; the weights last, each renamed into place."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().to(torch.float16).contiguous()
        for name, tensor in _own_state(model).items()
    }
    _replace(folder / CONFIG, lambda temporary: temporary.write_text(config.model_dump_json(indent=2) + "\n"))
    _replace(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary))


def load_model(path: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> FusedModel:
    """Load a model folder, in evaluation mode. Errors name the file and what is wrong with it."""
    config = read_config(path)
    encoder = load_encoder()
    if encoder.digest != config.encoder_digest:
        raise UsageError(
            f"model {path} was trained on vision encoder {config.encoder_digest}, "
            f"but {encoder.digest} is installed; train it again or install the matching version"
        )
    model = _assemble(config, encoder)
    _load_weights(model, path / WEIGHTS)
    return model.to(device=device, dtype=dtype).eval()


def read_config(path: Path) -> ModelConfig:
    """Read a model folder's ``config.json``."""
    try:
        return ModelConfig.model_validate_json((path / CONFIG).read_text())
    except FileNotFoundError:
        raise UsageError(
            f"{path} is not a model folder: it has no {CONFIG}; give the folder of a model"
        ) from None
    except (OSError, ValidationError, ValueError) as error:
        raise UsageError(
            f"{path / CONFIG} cannot be read: {_reason(error)}; copy or train the model again, or remove it"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return " ".join([*map(str, first["loc"]), first["msg"]])
    return str(error).splitlines()[0]


def weights_digest(path: Path) -> str:
    """SHA-256 (16 hex digits) of a model folder's weights file."""
    try:
        return hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UsageError(
            f"{path / WEIGHTS} cannot be read: {error.strerror}; copy or train the model again"
        ) from error


def find_weights(
    method: str, config: Mapping[str, object], backbone: str, seed: int, search: Sequence[Path] = ()
) -> Path | None:
    """The folder of the trained model for a method, its settings, backbone and seed: in ``search``, then
    shipped.

    Raises UsageError where none fits but a model of unknown content lies in the same place: it may be the one
    that is meant, and another must not quietly take its place.
    """
    wanted = full_config(method, config)
    for roots in (search, [SHIPPED]):
        broken: UsageError | None = None
        for folder in _model_folders(roots):
            try:
                found = read_config(folder)
            except UsageError as error:
                broken = broken or error
                continue
            same = (found.method, found.backbone, found.seed) == (method, backbone, seed)
            if same and found.max_frames is not None and found.method_config == wanted:
                return folder
        if broken is not None:
            raise broken
    return None


def _model_folders(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"models folder {str(root)!r} does not exist; give the --out of `harness train`")
        for current, folders, files in os.walk(root):
            folders.sort()
            if CONFIG in files and WEIGHTS in files and Path(current).name != "encoder":
                yield Path(current)


def _own_state(model: FusedModel) -> dict[str, torch.Tensor]:
    """The state without the shared encoder, each tied tensor once."""
    seen: set[int] = set()
    own = {}
    for name, tensor in model.state_dict().items():
        if not name.startswith("encoder.") and tensor.data_ptr() not in seen:
            own[name] = tensor
            seen.add(tensor.data_ptr())
    return own


def _load_weights(module: nn.Module, path: Path) -> None:
    """Load a file into a module; every tensor must be there with its shape."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise UsageError(f"weights {path} do not exist; train the model again") from None
    except (SafetensorError, OSError) as error:
        raise UsageError(f"weights {path} are corrupt ({error}); copy or train the model again") from error
    expected = _own_state(module) if isinstance(module, FusedModel) else module.state_dict()
    problems = sorted(set(expected) ^ set(tensors)) + [
        name for name in expected if name in tensors and expected[name].shape != tensors[name].shape
    ]
    if problems:
        raise UsageError(
            f"weights {path} do not fit the model: {len(problems)} tensor(s) missing, unknown or of "
            f"another shape, first {problems[0]!r}; they were made with "
            "another version of the method; train the model again"
        )
    with torch.no_grad():
        state = module.state_dict()
        for name, tensor in tensors.items():
            state[name].copy_(tensor)


def _replace(path: Path, write: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InfrastructureError(
            f"cannot write {path}: {error.strerror}; free space or choose another folder"
        ) from error
