"""Classes that keep images beside the text: Llama-3.2-Vision and Idefics, both by gated cross-attention."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from harness.errors import UsageError
from harness.published_models.chat import Chat, Last
from harness.published_models.family import Chunk, Family
from harness.published_models.state import KvState
from harness.stream import Pixels


class Mllama(Family):
    """Llama-3.2-Vision: cross-attention layers between the decoder's own; their keys and values are made once
    per image and kept.

    A row sees the last image, and with it those that came right before it. Rows before the first image see
    every image of the pass with equal weight, later ones included: that is how the published code masks
    them, and why a stream of frames cannot be continued with the same logits.
    """

    title = "Llama-3.2-Vision"
    fusion = "gated cross-attention layers to the last images"
    architecture = "MllamaForConditionalGeneration"
    processor = "mllama:MllamaImageProcessorPil"
    before = placeholder = "<|image|>"
    not_streamed = (
        "rows before the first image see all images of the pass, so a frame that comes later would change "
        "what was computed before"
    )

    def _shape(self, made: dict[str, Any]) -> tuple[int, ...]:
        """Tiles of an image that are not padding."""
        return (int(made["aspect_ratio_mask"].sum()),)

    @property
    def patches(self) -> int:
        return int(self.net.model.vision_model.num_patches)

    def rows(self, features_nd: Tensor) -> int:
        return 0

    def new_state(self) -> KvState:
        return KvState(self.text_config, self.text_config.cross_attention_layers)

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        """[F, tiles · patches, d], padded tiles included as the class keeps them."""
        made = self.pixels(frames)
        seen = self.net.model.vision_model(
            pixel_values=made["pixel_values"],
            aspect_ratio_ids=made["aspect_ratio_ids"],
            aspect_ratio_mask=made["aspect_ratio_mask"],
        ).last_hidden_state
        projected: Tensor = self.net.model.multi_modal_projector(seen)
        return projected.reshape(len(frames), -1, projected.shape[-1])

    def run(self, chunk: Chunk, state: KvState) -> Tensor:
        self.note_route()
        if chunk.images and len(state):
            raise UsageError(
                f"a frame came after the stream was computed, but {self.not_streamed}; append all frames at "
                "once, before asking"
            )
        states = None
        if chunk.images:
            states = torch.cat([image.features for image in chunk.images])[None].to(
                self.device, self.net.dtype
            )
        visible = self._visible(chunk, state)
        mask, whole = _masks(visible.to(self.device), self.net.dtype)
        out = self.net.model.language_model(
            input_ids=chunk.ids[None].to(self.device),
            cross_attention_states=states,
            cross_attention_mask=mask,
            full_text_row_masked_out_mask=whole,
            past_key_values=state.cache,
            use_cache=True,
        )
        state.grown(chunk.is_image().numpy())
        return cast("Tensor", out.last_hidden_state[0])

    def _visible(self, chunk: Chunk, state: KvState) -> Tensor:
        """Which image tokens each row sees, bool [T, S]; the state moves on to what follows."""
        per_image = int(self.config.vision_config.max_num_tiles) * self.patches
        before = len(state.shown)
        state.shown += tuple(self.shape(image.size)[0] * self.patches for image in chunk.images)
        visible = torch.zeros(len(chunk.ids), len(state.shown), per_image, dtype=torch.bool)
        opened = {image.start - 1: before + index for index, image in enumerate(chunk.images)}
        for row in range(len(chunk.ids)):
            if row in opened:
                state.seen = (*(state.seen if row - 1 in opened else ()), opened[row])
            for number in state.seen:
                visible[row, number, : state.shown[number]] = True
        return visible.flatten(1)


def _masks(visible_ts: Tensor, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
    """The additive mask [1, 1, T, S] and 1 for rows that see an image [1, 1, T, 1]; None without images."""
    if not visible_ts.shape[1]:
        return None, None
    sees = visible_ts.any(dim=1, keepdim=True)
    mask = torch.zeros(visible_ts.shape, dtype=dtype, device=visible_ts.device)
    mask.masked_fill_(~visible_ts & sees, torch.finfo(dtype).min)
    return mask[None, None], sees.to(dtype)[None, None]


class Idefics(Family):
    """Idefics (arXiv 2306.16527), an open Flamingo: gated cross-attention to the last image.

    Its layers project the image's features at every step, so a session keeps the last image's features; no
    later row sees any other image.
    """

    title = "Idefics"
    fusion = "gated cross-attention layers to the last image"
    architecture = "IdeficsForVisionText2Text"
    processor = "idefics:IdeficsImageProcessorPil"
    before, after = "<fake_token_around_image><image>", "<fake_token_around_image>"
    default_chat = Chat(text_first="User: ", image_first="User:", tail="<end_of_utterance>\nAssistant:")

    def around(self, last: Last) -> tuple[str, str]:
        return ("<image>" if last == "image" else self.before), self.after

    def rows(self, features_nd: Tensor) -> int:
        return 0

    def pixels(self, frames: Sequence[Pixels]) -> dict[str, Any]:
        from PIL import Image

        images = [Image.fromarray(frame) for frame in frames]
        values: Tensor = self.images(images, return_tensors="pt")
        return {"pixel_values": values.to(self.device, self.net.dtype)}

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        model = self.net.model
        seen: Tensor = model.vision_model(pixel_values=self.pixels(frames)["pixel_values"]).last_hidden_state
        return cast("Tensor", model.perceiver_resampler(seen)) if self.config.use_resampler else seen

    def run(self, chunk: Chunk, state: KvState) -> Tensor:
        self.note_route()
        kept = [] if state.features is None else [state.features]
        shown = [*kept, *(image.features.to(self.device, self.net.dtype) for image in chunk.images)]
        # The class wants an image even where no row sees one.
        features = torch.stack(shown) if shown else self._nothing()
        mask = torch.zeros(len(chunk.ids), len(features), dtype=torch.bool)
        for number, (start, stop) in enumerate(_spans(chunk, bool(kept))):
            mask[start:stop, number] = True
        name = "perceiver_embeddings" if self.config.use_resampler else "image_encoder_embeddings"
        out = self.net.model(
            input_ids=chunk.ids[None].to(self.device),
            image_attention_mask=mask[None].to(self.device),
            past_key_values=state.cache,
            use_cache=True,
            **{name: features[None]},
        )
        state.grown(chunk.is_image().numpy())
        if chunk.images:
            state.features = features[-1].clone()
        return cast("Tensor", out.last_hidden_state[0])

    def _nothing(self) -> Tensor:
        width = int(self.config.vision_config.embed_dim)
        return torch.zeros(1, 1, width, device=self.device, dtype=self.net.dtype)


def _spans(chunk: Chunk, kept: bool) -> list[tuple[int, int]]:
    """First and last row that see each image: from its token up to the next image's."""
    starts = [*([0] if kept else []), *(image.start - 1 for image in chunk.images)]
    return list(itertools.pairwise([*starts, len(chunk.ids)]))
