"""The contract of an adapter: what one class of ``transformers`` needs to run as a stream.

Shapes: F frames, N tokens a frame, D width of a frame's features, d model width, T rows of a chunk,
V vocabulary. Batch 1 throughout.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.attention.record import record
from harness.errors import InfrastructureError, UsageError
from harness.published_models.chat import Chat, ChatWriter, Last, Writer, chat_of
from harness.published_models.state import KvState
from harness.stream import Pixels


@dataclass(frozen=True, slots=True)
class Placed:
    """An image of a chunk: its first row, the rows that it takes, its features [N, D], its frame's height
    and width in pixels."""

    start: int
    rows: int
    features: Tensor
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Token ids [T], an image's rows holding the image token, and the images in order."""

    ids: Tensor
    images: tuple[Placed, ...]

    def is_image(self) -> Tensor:
        """Which rows are images', bool [T], on the CPU."""
        out = torch.zeros(len(self.ids), dtype=torch.bool)
        for image in self.images:
            out[image.start : image.start + image.rows] = True
        return out


class Family(ABC):
    """One class of ``transformers`` around a loaded model ``net``.

    Every frame is an image of its own: nothing of a later frame enters an earlier one's features.
    """

    title: ClassVar[str]
    fusion: ClassVar[str]
    """What it does with images, for people."""
    architecture: ClassVar[str]
    """Name of the class in ``transformers``; an ``Auto`` class for a model that brings its own."""
    processor: ClassVar[str]
    """The class's image processor on PIL and NumPy, as ``model:Class`` below ``transformers.models``."""
    options: ClassVar[dict[str, Any]] = {}
    """Arguments of the image processor that differ from the checkpoint's."""
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""
    """Tokens around an image."""
    placeholder: ClassVar[str] = "<image>"
    """What the class's chat templates write for an image."""
    stamp: ClassVar[str | None] = None
    """The class's own text before a frame, with ``seconds``, ``minutes`` and ``rest`` to fill in."""
    not_streamed: ClassVar[str | None] = None
    """Why frames cannot be appended one by one with the same logits as all at once; None: they can."""
    default_chat: ClassVar[Chat] = Chat()
    """The pieces of a turn, behind the start token, where the checkpoint has no chat template."""

    def __init__(self, net: Any, images: Any) -> None:
        self.net, self.images = net, images
        self.config = net.config
        self.image_id = getattr(net.config, "image_token_id", getattr(net.config, "image_token_index", None))
        """Id of the token that an image's rows hold; None where images take no rows."""
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}

    @classmethod
    def model_class(cls) -> Any:
        """The class; raises InfrastructureError where ``transformers`` is too old to have it."""
        return _of_transformers("transformers", cls.architecture)

    @classmethod
    def load_options(cls, device: str, dtype: torch.dtype) -> dict[str, Any]:
        """More arguments for reading the weights."""
        return {}

    @classmethod
    def image_processor(cls, folder: Path, trust: bool = False) -> Any:
        """The class's image processor with the checkpoint's settings; raises UsageError for settings that are
        missing, InfrastructureError where ``transformers`` is too old to have it. ``trust`` lets the
        checkpoint's own code run."""
        model, _, name = cls.processor.partition(":")
        found = _of_transformers(f"transformers.models.{model}.image_processing_pil_{model}", name)
        try:
            return found.from_pretrained(folder, local_files_only=True)
        except OSError as error:
            raise UsageError(
                f"{folder} has no settings of an image processor ({str(error).splitlines()[0][:120]}); copy "
                "preprocessor_config.json or processor_config.json of the checkpoint too"
            ) from None

    @classmethod
    def tokenizer(cls, images: Any) -> Any | None:
        """The tokenizer that a processor brings; None takes the checkpoint's."""
        return None

    @classmethod
    def chat(cls, folder: Path, tokenizer: Any) -> Chat:
        """The pieces of a turn, from the checkpoint's template."""
        return chat_of(folder, tokenizer, cls.default_chat, cls.placeholder)

    def writer(self, chat: Chat, tokenizer: Any) -> Writer:
        """What writes a turn as token ids."""
        return ChatWriter(chat, tokenizer, self)

    def check(self) -> None:
        """Raise UsageError where the loaded model does not compute as a stream what it computes at once.

        For classes of ``transformers`` the tests have shown it.
        """
        return

    @property
    def device(self) -> torch.device:
        return cast("torch.device", self.net.device)

    @property
    def text_config(self) -> Any:
        return self.config.get_text_config()

    @abstractmethod
    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        """Frames of one size → features [F, N, D]: vision tower and projector."""

    @abstractmethod
    def run(self, chunk: Chunk, state: KvState) -> Tensor:
        """Append a chunk to a state; its rows' hidden states [T, d]. A class that runs a chunk in several
        passes may give those of the last one only, which are all of a chunk of text."""

    def rows(self, features_nd: Tensor) -> int:
        """Rows of the token stream that a frame takes."""
        return len(features_nd)

    def new_state(self) -> KvState:
        return KvState(self.text_config)

    def logits(self, h_rd: Tensor) -> Tensor:
        """Hidden states [R, d] → logits [R, V]."""
        return cast("Tensor", self.net.lm_head(h_rd))

    def around(self, last: Last) -> tuple[str, str]:
        """Text right before and after an image, given what the stream ends with."""
        return self.before, self.after

    def joined(self, text: str, last: Last) -> str:
        """A text as it is written after what the stream ends with."""
        return "\n" + text if last == "text" else text

    def pixels(self, frames: Sequence[Pixels]) -> dict[str, Any]:
        """What the image processor makes of frames, each an image: tensors in the model's precision."""
        images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
        made = self.images(self.nested(images), return_tensors="pt", **self.options)
        return {
            name: value.to(self.device, self.net.dtype if value.is_floating_point() else value.dtype)
            if isinstance(value, Tensor)
            else value
            for name, value in made.items()
        }

    def nested(self, images: list[Image.Image]) -> Any:
        """Images as the image processor takes several of one sample."""
        return [images]

    def note_route(self) -> None:
        """Record which attention of ``transformers`` the language model runs."""
        kernel = str(getattr(self.text_config, "_attn_implementation", None) or "eager")
        record("transformers", kernel, self.device.type)

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """What an image of a height and width becomes, as ``_shape`` tells it from the processor's output."""
        if size not in self._shapes:
            self._shapes[size] = self._shape(self.pixels([np.zeros((*size, 3), dtype=np.uint8)]))
        return self._shapes[size]

    def _shape(self, made: dict[str, Any]) -> tuple[int, ...]:
        raise NotImplementedError


def _of_transformers(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        import transformers

        raise InfrastructureError(
            f"transformers {transformers.__version__} has no {name}; install a newer one (the tests run with "
            "5.23)"
        ) from None
