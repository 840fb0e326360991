"""Qwen2.5-VL and Qwen3-VL: inserted image tokens with positions in time, height and width (M-RoPE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.published_models.family import Chunk, Placed
from harness.published_models.insertion import Insertion
from harness.published_models.state import KvState
from harness.stream import Pixels


class Qwen2_5VL(Insertion):
    """Qwen2.5-VL (arXiv 2502.13923). A frame is an image; the positions of its tokens start together, and the
    text goes on after the frame's longer side.

    The class would merge a video's frames two by two and put time into positions; a frame would then depend
    on the one after it, so a stream has images only.
    """

    title = "Qwen2.5-VL"
    architecture = "Qwen2_5_VLForConditionalGeneration"
    processor = "qwen2_vl:Qwen2VLImageProcessorPil"
    before, after = "<|vision_start|>", "<|vision_end|>"
    placeholder = "<|vision_start|><|image_pad|><|vision_end|>"

    def nested(self, images: list[Any]) -> Any:
        return images

    def _shape(self, made: dict[str, Any]) -> tuple[int, ...]:
        """Rows and columns of an image's tokens."""
        merge = int(self.config.vision_config.spatial_merge_size)
        return tuple(int(side) // merge for side in made["image_grid_thw"][0, 1:])

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        made = self.pixels(frames)
        found = self.net.model.get_image_features(
            made["pixel_values"], made["image_grid_thw"], return_dict=True
        )
        return torch.stack([self.features(found, index) for index in range(len(frames))])

    def features(self, found: Any, index: int) -> Tensor:
        """What an image's tokens bring, [N, D]."""
        tokens: Tensor = found.pooler_output[index]
        return tokens

    def extras(self, chunk: Chunk, state: KvState) -> dict[str, Any]:
        positions = self.positions(chunk, state).to(self.device)
        return {"position_ids": positions[:, None]}

    def positions(self, chunk: Chunk, state: KvState) -> Tensor:
        """Time, height and width of every row, [3, T]; the state moves on to what follows."""
        parts, row = [], 0
        for image in chunk.images:
            parts.append(self._text(image.start - row, state))
            parts.append(self._image(image, state))
            row = image.start + image.rows
        parts.append(self._text(len(chunk.ids) - row, state))
        return torch.cat(parts, dim=1)

    def _text(self, count: int, state: KvState) -> Tensor:
        state.position += count
        return torch.arange(state.position - count, state.position).expand(3, -1)

    def _image(self, image: Placed, state: KvState) -> Tensor:
        height, width = self.shape(image.size)
        rows = torch.arange(height).repeat_interleave(width)
        columns = torch.arange(width).repeat(height)
        start = state.position
        state.position += max(height, width)
        return torch.stack((torch.zeros_like(rows), rows, columns)) + start


class Qwen3VL(Qwen2_5VL):
    """Qwen3-VL (arXiv 2511.21631): as Qwen2.5-VL, and features of several depths of the vision tower are
    added to the first decoder blocks (*DeepStack*). They are kept beside the tokens: D = d · (1 + depths).

    Its own time stamps stand before frames.
    """

    title = "Qwen3-VL"
    fusion = "image tokens inserted among the text's; deeper visual features added in the first blocks"
    architecture = "Qwen3VLForConditionalGeneration"
    stamp = "<{seconds:.1f} seconds>"

    def features(self, found: Any, index: int) -> Tensor:
        return torch.cat([found.pooler_output[index], *(d[index] for d in found.deepstack_features)], dim=-1)

    def extras(self, chunk: Chunk, state: KvState) -> dict[str, Any]:
        out = super().extras(chunk, state)
        if chunk.images:
            width = int(self.text_config.hidden_size)
            deep = torch.cat([image.features for image in chunk.images]).to(self.device, self.net.dtype)
            out["visual_pos_masks"] = chunk.is_image().to(self.device)[None]
            out["deepstack_visual_embeds"] = list(torch.split(deep[:, width:], width, dim=1))
        return out
