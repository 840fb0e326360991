"""Folders of weights: what a fused model's ``config.json`` holds, reading safetensors, writing files whole.

A *checkpoint folder* is Hugging Face's layout: ``config.json`` with a ``model_type``, ``model.safetensors``
or shards with an index, ``tokenizer.json``. A *fused folder* is a model made here: ``config.json`` with a
``method``, ``model.safetensors`` and, where the backbone is not a registered one, ``tokenizer.json``. Weights
are never pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.errors import InfrastructureError, UsageError

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX = "model.safetensors.index.json"


class EncoderEntry(BaseModel):
    """The vision encoder whose weights lie in a fused folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    config: dict[str, Any]


class ModelConfig(BaseModel):
    """What a fused folder's ``config.json`` holds: enough to build the model without its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    method_config: dict[str, Any]
    backbone: str
    """A registered backbone, or the name of the checkpoint that ``decoder`` was read from."""
    intermediate_size: int = Field(gt=0)
    encoder_digest: str
    seed: int
    extra_words: tuple[str, ...] = ()
    """Words of the tasks trained on that the backbone's tokenizer lacks."""
    tasks: tuple[str, ...] = ()
    max_frames: int | None = Field(default=None, gt=0)
    heights: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    decoder: dict[str, Any] | None = None
    """The decoder's ``transformers`` config where the backbone is a checkpoint; the tokenizer is then beside
    it."""
    encoder: EncoderEntry | None = None
    """The encoder whose weights lie in the folder; None is the shipped one."""
    start: int | None = None
    """Id of the token that begins every stream, where the backbone is a checkpoint."""
    stops: tuple[int, ...] = ()
    """Ids of the tokens that end an answer, the one that training teaches first."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_frames is not None and not (self.heights and self.widths):
            raise ValueError("a trained model names the heights and widths that it was trained on")
        if self.decoder is not None and (self.start is None or not self.stops):
            raise ValueError("a model with its own decoder names its start and stop tokens")
        return self

    @model_serializer(mode="wrap")
    def _without_what_registered_backbones_lack(self, serialise: SerializerFunctionWrapHandler) -> Any:
        document = serialise(self)
        absent = {"decoder": None, "encoder": None, "start": None, "stops": ()}
        return {name: v for name, v in document.items() if name not in absent or v not in (absent[name], [])}


def read_config(folder: Path) -> ModelConfig:
    """Read a fused folder's ``config.json``; raises UsageError."""
    path = folder / CONFIG
    try:
        return ModelConfig.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is not a model folder: it has no {CONFIG}; give the folder of a model"
        ) from None
    except (OSError, ValidationError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {_reason(error)}; copy or train the model again, or remove it"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return " ".join([*map(str, first["loc"]), first["msg"]])
    return str(error).splitlines()[0]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file; raises UsageError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path.parent} has no {path.name}; give a checkpoint folder in Hugging Face's layout "
            f"({CONFIG}, {WEIGHTS}, {TOKENIZER})"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({error}); copy the checkpoint again") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no JSON object; copy the checkpoint again")
    return document


def weights_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) of a fused folder's weights file."""
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise UsageError(
            f"{folder / WEIGHTS} cannot be read: {error.strerror}; copy or train the model again"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, sharded or not; raises UsageError where one is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise UsageError(f"{folder / INDEX} has no weight_map; copy the checkpoint again")
        files = [folder / name for name in sorted(set(map(str, shards.values())))]
        for file in files:
            if not file.is_file():
                raise UsageError(f"weights {file} do not exist, but {INDEX} names them; copy the shard too")
        return files
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if shards:
        raise UsageError(f"{folder} has {shards[0]}, a part of its weights, but no {INDEX}; copy it too")
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise UsageError(
            f"{folder} has its weights in {pickled[0]} only, a pickle, which can run any code when it is "
            f"read; convert it with transformers' save_pretrained, which writes {WEIGHTS}"
        )
    raise UsageError(f"weights {folder / WEIGHTS} do not exist; copy or train the model again")


def read_tensors(folder: Path, prefixes: Collection[str] = ("",)) -> dict[str, Tensor]:
    """The tensors whose names begin with one of the prefixes, under the rest of their names."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # not a mapping
                    prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
                    if prefix is not None:
                        tensors[name.removeprefix(prefix)] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise UsageError(
                f"weights {path} are corrupt ({error}); copy or train the model again"
            ) from error
    return tensors


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str, skip: Collection[str] = ()) -> None:
    """Copy tensors into a module's state; every one must be there with its shape, and no other.

    ``where`` names the weights in errors; ``skip`` are names of the state that another name shares.
    """
    state = module.state_dict()
    expected = {name: tensor for name, tensor in state.items() if name not in skip}
    _check_fit(expected, tensors, where)
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)


def _check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    problems = [f"{name!r} is missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name!r} is unknown" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{name!r} is {list(found[name].shape)}, not {list(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name].shape != found[name].shape
    ]
    if problems:
        raise UsageError(
            f"weights {where} do not fit what {CONFIG} says: {len(problems)} tensor(s) missing, unknown or "
            f"of another shape, first {problems[0]}; they belong to other settings or another version: "
            "copy or train the model again"
        )


def save_tensors(tensors: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> None:
    """Write tensors in a precision; raises UsageError where values do not fit it, InfrastructureError."""
    cast = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in tensors.items()}
    for name, tensor in cast.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(
                f"tensor {name!r} is not finite in {str(dtype).removeprefix('torch.')}: the weights are "
                "broken or too large for it; store the model in bfloat16 or float32"
            )
    replace(path, lambda temporary: save_file(cast, temporary))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and rename it; raises InfrastructureError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise InfrastructureError(
            f"cannot write {path}: {reason}; free space or choose another folder"
        ) from error
