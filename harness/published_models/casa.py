"""CASA checkpoints (arXiv 2512.19535) with the code that their repositories bring.

The adapter calls that code as the authors' scripts do (github.com/kyutai-labs/casa): the model's ``forward``
takes a frame's pixels and the place in the text where it comes, ``start_ca_streaming_states`` and
``reset_ca_streaming_states`` begin and end what its cross-attention layers keep of a frame, and the text's
keys and values are in an ordinary cache. The vision encoder is the module ``image_prefix``.

Shapes: T rows of a pass, N tokens of a frame, D width of its features, V vocabulary.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from harness.published_models.casa_check import check_streaming
from harness.published_models.casa_turn import turn_of
from harness.published_models.chat import Chat, Writer
from harness.published_models.family import Chunk, Family
from harness.published_models.modulestate import ModuleState, Window, mapped, tensors_in
from harness.published_models.own_code import other_commit, own_code
from harness.published_models.state import Flags, KvState
from harness.stream import Pixels

METHODS = ("start_ca_streaming_states", "reset_ca_streaming_states")
_SMALL = 56
"""Height and width in pixels of the frame that shows how the class streams; its processor scales it."""


class CasaState(KvState):
    """The text's keys and values in a cache, and what the class's modules keep of the current frame."""

    def __init__(self, modules: ModuleState) -> None:
        from transformers import DynamicCache

        self.cache: Any = DynamicCache()
        self.modules, self.window = modules, Window()
        self.is_image: Flags = np.zeros(0, dtype=np.bool_)

    def fork(self) -> CasaState:
        other = object.__new__(CasaState)
        other.cache = mapped(self.cache, lambda tensor: tensor)
        other.modules, other.window = self.modules, self.modules.fork(self.window)
        other.is_image = self.is_image
        return other

    def grown(self, is_image: Flags) -> None:
        """Note the rows of a pass; the cache keeps nothing but their keys and values."""
        self.is_image = np.concatenate((self.is_image, is_image))
        if any(_keeps_more(tensor) for tensor in tensors_in(self.cache)):
            self.cache = mapped(self.cache, lambda tensor: tensor.clone() if _keeps_more(tensor) else tensor)

    def tensors(self) -> dict[str, list[Tensor]]:
        return {"cache": tensors_in(self.cache), "frame": tensors_in(list(self._kept()))}

    def bytes_by_kind(self) -> dict[str, int]:
        """``text_kv``, and ``image_kv``: all that the modules keep of the current frame."""
        text = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(self.cache)}
        kept = tensors_in(list(self._kept()))
        frame = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept}
        return {
            "text_kv": sum(text.values()),
            "image_kv": sum(size for key, size in frame.items() if key not in text),
        }

    def _kept(self) -> list[Any]:
        return list(self.modules.values(self.window).values())


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What encoding a frame of a size looks like: pixels and the encoder's output without values, and the
    tensor in that output which stands for the features."""

    pixels: list[Tensor]
    output: Any
    place: Tensor


class _SeenError(Exception):
    """Ends a forward pass once the encoder has run."""


class Casa(Family):
    """Cross-attention to the current frame only; the text's self-attention never sees an image token.

    Every frame opens a window, also where another frame stands right before it, as in the authors' loop for
    live video: so a stream does not depend on how it is cut into passes.
    """

    title = "CASA"
    fusion = "cross-attention to the current frame, by the checkpoint's own code (--trust-remote-code)"
    architecture = "AutoModel"
    processor = "the checkpoint's own"
    axes: ClassVar[int] = 1
    """Rows of position ids: 1, or 3 with M-RoPE."""
    system: ClassVar[list[dict[str, Any]]] = []
    """What comes before the user's turn."""

    def __init__(self, net: Any, images: Any) -> None:
        super().__init__(net, images)
        lacking = [name for name in (*METHODS, "image_prefix") if not hasattr(net, name)]
        if lacking:
            raise other_commit(f"its model has no {lacking[0]}")
        for parameter in net.parameters():
            # Some of these classes build their encoder in float32, whatever precision is asked for.
            parameter.data = parameter.data.to(net.dtype)
        self.image_id = None
        self.turn = turn_of(images, self.system)
        self._encoded: dict[tuple[int, int], _Encoded] = {}
        with torch.inference_mode():
            self.modules = ModuleState.watching(net, self._one_frame())

    @classmethod
    def image_processor(cls, folder: Path, trust: bool = False) -> Any:
        """The checkpoint's processor, which prepares both images and text."""
        from transformers import AutoProcessor

        with own_code(folder):
            found = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, local_files_only=True, trust_remote_code=trust
            )
        if not hasattr(found, "tokenize_messages"):
            raise other_commit(f"its processor, {type(found).__name__}, has no tokenize_messages")
        return found

    @classmethod
    def load_options(cls, device: str, dtype: torch.dtype) -> dict[str, Any]:
        """The attention kernel that the authors' scripts ask for, where it can run."""
        half = dtype in (torch.bfloat16, torch.float16)
        usable = device.startswith("cuda") and half and importlib.util.find_spec("flash_attn") is not None
        return {"attn_implementation": "flash_attention_2"} if usable else {}

    @classmethod
    def tokenizer(cls, images: Any) -> Any | None:
        return images.tokenizer

    @classmethod
    def chat(cls, folder: Path, tokenizer: Any) -> Chat:
        """Nothing: the processor writes a turn, see :class:`Turn`."""
        return Chat()

    def writer(self, chat: Chat, tokenizer: Any) -> Writer:
        return self.turn

    def check(self) -> None:
        check_streaming(self, _SMALL)

    def rows(self, features_nd: Tensor) -> int:
        return 0

    def new_state(self) -> CasaState:
        return CasaState(self.modules)

    def logits(self, h_rd: Tensor) -> Tensor:
        """The class's ``forward`` has made them already."""
        return h_rd

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        return torch.stack([self._encode(frame) for frame in frames])

    def run(self, chunk: Chunk, state: KvState) -> Tensor:
        assert isinstance(state, CasaState)
        self.note_route()
        self.modules.install(state.window)
        for start, stop, number in self._passes(chunk, bool(len(state))):
            ids = chunk.ids[start:stop]
            if number is None:
                out = self._continue(ids, state)
            else:
                image = chunk.images[number]
                with self._showing(image.features, image.size) as pixels:
                    out = self._open(ids, state, pixels, image.start - start)
            state.grown(np.zeros(len(ids), dtype=np.bool_))
        return cast("Tensor", out.logits[0])

    def whole(self, ids: Tensor, pixels: Any, points: Sequence[int]) -> Tensor:
        """Logits [T, V] of the class's own forward pass over a whole input, without a stream."""
        given = torch.tensor(points, device=self.device)
        out = self.net(
            ids[None].to(self.device),
            pixel_values=pixels,
            use_cache=False,
            attention_mask=torch.ones(1, len(ids), device=self.device),
            position_ids=self._positions(0, len(ids)),
            image_embeds_insertion_points=[given] if points else None,
            **self._around(),
        )
        return cast("Tensor", out.logits[0])

    def prepared(self, frames: Sequence[Pixels]) -> list[Tensor]:
        """What the checkpoint's processor makes of frames, in the model's precision."""
        images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
        content = [{"type": "image", "image": image} for image in images]
        made = self.images.tokenize_messages([{"role": "user", "content": content}])["pixel_values"]
        return [value.to(self.device, self.net.dtype) for value in made]

    def _passes(self, chunk: Chunk, begun: bool) -> list[tuple[int, int, int | None]]:
        """First and last row of each pass and the number of its image. An image's pass begins with the tokens
        before it; that of a stream's first image also with the text before it, where both come at once."""
        starts = [image.start - len(self.turn.before) for image in chunk.images]
        passes: list[tuple[int, int, int | None]] = []
        if starts and not begun:
            starts[0] = 0
        if not starts or starts[0] > 0:
            passes.append((0, starts[0] if starts else len(chunk.ids), None))
        for number, start in enumerate(starts):
            stop = starts[number + 1] if number + 1 < len(starts) else len(chunk.ids)
            passes.append((start, stop, number))
        return passes

    def _open(self, ids: Tensor, state: CasaState, pixels: Any, point: int) -> Any:
        """A pass with a new frame, which ends the window before it."""
        if state.window.open:
            self.net.reset_ca_streaming_states()
        self.net.start_ca_streaming_states()
        state.window.open = True
        points = [torch.tensor([point], device=self.device)]
        return self._forward(
            ids, state, pixel_values=pixels, image_embeds_insertion_points=points, **self._around()
        )

    def _continue(self, ids: Tensor, state: CasaState) -> Any:
        """A pass of text in the present window; a stream's first text has none yet."""
        if state.window.open:
            return self._forward(ids, state, pixel_values=None, **{"__is_first_gen_call__": False})
        self.net.start_ca_streaming_states()
        state.window.open = True
        return self._forward(ids, state, pixel_values=None, **self._around())

    def _forward(self, ids: Tensor, state: CasaState, **more: Any) -> Any:
        before = len(state)
        return self.net(
            ids[None].to(self.device),
            past_key_values=state.cache,
            use_cache=True,
            attention_mask=torch.ones(1, before + len(ids), device=self.device),
            position_ids=self._positions(before, len(ids)),
            **more,
        )

    def _positions(self, start: int, count: int) -> Tensor:
        line = torch.arange(start, start + count, device=self.device)[None]
        return line if self.axes == 1 else line.expand(self.axes, 1, -1).contiguous()

    def _around(self) -> dict[str, Any]:
        config = self.config
        return {
            "pre_image_tokens": list(config.pre_image_tokens),
            "post_image_tokens": list(config.post_image_tokens),
        }

    def _encode(self, frame: Pixels) -> Tensor:
        """Features [N, D] of one frame; how the encoder gives them out is noted for its size."""
        pixels = self.prepared([frame])
        given = self._encoder_gives(pixels)
        features = _largest(given)
        size = (frame.shape[0], frame.shape[1])
        if size not in self._encoded:
            place = torch.zeros((), device=features.device, dtype=features.dtype).expand(features.shape)
            shown = [torch.zeros((), device=p.device, dtype=p.dtype).expand(p.shape) for p in pixels]
            outline = mapped(given, lambda tensor: place if tensor is features else tensor)
            self._encoded[size] = _Encoded(shown, outline, place)
        return features.reshape(-1, features.shape[-1])

    def _encoder_gives(self, pixels: Any) -> Any:
        """What ``image_prefix`` returns in the class's own forward pass, which ends there."""
        found: list[Any] = []

        def seen(module: nn.Module, given: Any, output: Any) -> None:
            found.append(output)
            raise _SeenError

        handle = self.net.image_prefix.register_forward_hook(seen)
        try:
            ids, point = self.turn.image_alone()
            self.whole(ids, pixels, [point])
        except _SeenError:
            return found[0]
        finally:
            handle.remove()
        raise other_commit("its model encodes images elsewhere than in image_prefix")

    @contextmanager
    def _showing(self, features_nd: Tensor, size: tuple[int, int]) -> Iterator[Any]:
        """Pixels of a frame whose features are known: meanwhile ``image_prefix`` gives those out."""
        if size not in self._encoded:
            self._encode(np.zeros((*size, 3), dtype=np.uint8))
        known = self._encoded[size]
        features = features_nd.to(known.place.device, known.place.dtype).reshape(known.place.shape)
        output = mapped(known.output, lambda tensor: features if tensor is known.place else tensor)
        encoder = self.net.image_prefix
        encoder.forward = lambda *given, **named: output
        try:
            yield known.pixels
        finally:
            del encoder.forward

    def _one_frame(self) -> Iterator[None]:
        """A frame, a token after it, and the frame's end: what the modules keep changes on the way."""
        pixels = self.prepared([np.full((_SMALL, _SMALL, 3), 127, dtype=np.uint8)])
        state = CasaState(ModuleState([]))
        ids, point = self.turn.image_alone()
        self._open(ids, state, pixels, point)
        state.grown(np.zeros(len(ids), dtype=np.bool_))
        yield
        self._continue(ids[:1], state)
        yield
        self.net.reset_ca_streaming_states()
        yield


class CasaHelium(Casa):
    """CASA on Helium1-2B."""

    title = "CASA, Helium1"


class CasaQwen(Casa):
    """CASA on Qwen2.5-VL-3B: M-RoPE, whose three positions move together since images take none."""

    title = "CASA, Qwen2.5-VL"
    axes = 3
    system: ClassVar[list[dict[str, Any]]] = [
        {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant."}]}
    ]


def _largest(given: Any) -> Tensor:
    """The features in what an encoder gives out: its largest tensor of numbers."""
    found = [tensor for tensor in tensors_in(given) if tensor.is_floating_point()]
    if not found:
        raise other_commit("image_prefix gives out no features")
    return max(found, key=Tensor.numel)


def _keeps_more(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
