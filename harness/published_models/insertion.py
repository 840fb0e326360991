"""Classes that insert image tokens: LLaVA-OneVision, SmolVLM, Idefics2 and Idefics3.

Image features take the places of image tokens among the embeddings of the text, and everything is one
sequence for an ordinary decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from PIL import Image
from torch import Tensor

from harness.published_models.chat import Last
from harness.published_models.family import Chunk, Family
from harness.published_models.state import KvState
from harness.stream import Pixels


class Insertion(Family):
    """Image features among the text's embeddings."""

    fusion = "image tokens inserted among the text's"

    @property
    def decoder(self) -> Any:
        return self.net.model.language_model

    def run(self, chunk: Chunk, state: KvState) -> Tensor:
        self.note_route()
        h_rd = self.embedded(chunk)
        out = self.decoder(
            inputs_embeds=h_rd[None], past_key_values=state.cache, use_cache=True, **self.extras(chunk, state)
        )
        state.grown(chunk.is_image().numpy())
        return cast("Tensor", out.last_hidden_state[0])

    def embedded(self, chunk: Chunk) -> Tensor:
        """Embeddings [T, d] with the images' features in their places."""
        h_rd: Tensor = self.net.get_input_embeddings()(chunk.ids.to(self.device))
        if chunk.images:
            h_rd = h_rd.clone()
        for image in chunk.images:
            h_rd[image.start : image.start + image.rows] = image.features[:, : h_rd.shape[1]].to(h_rd)
        return h_rd

    def extras(self, chunk: Chunk, state: KvState) -> dict[str, Any]:
        """More arguments of the decoder."""
        return {}


class LlavaOnevision(Insertion):
    """LLaVA-OneVision (arXiv 2408.03326): SigLIP tokens of the whole frame and one *newline* after them.

    A frame is always one of several images: padded to a square, one tile. A single image's tiles (anyres)
    and a video's pooling with one newline at its end depend on what else comes, so a stream has neither.
    """

    title = "LLaVA-OneVision"
    architecture = "LlavaOnevisionForConditionalGeneration"
    processor = "llava_onevision:LlavaOnevisionImageProcessorPil"

    def nested(self, images: list[Image.Image]) -> Any:
        # One image alone would be cut into tiles; the copy at the end is dropped again.
        return [[*images, images[0]]]

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        made, count = self.pixels(frames), len(frames)
        features = self.net.model.get_image_features(
            made["pixel_values"][:count],
            made["image_sizes"][:count],
            batch_num_images=torch.tensor([count + 1]),
            return_dict=True,
        )
        return torch.stack(list(features.pooler_output))


class SmolVLM(Insertion):
    """SmolVLM (arXiv 2504.05299): shuffled SigLIP tokens of the whole frame, without splitting it.

    Not to split is what the class does with the frames of a video, whose time stamps are used too.
    """

    title = "SmolVLM"
    architecture = "SmolVLMForConditionalGeneration"
    processor = "smolvlm:SmolVLMImageProcessorPil"
    options: ClassVar[dict[str, Any]] = {"do_image_splitting": False}
    before = "<fake_token_around_image><global-img>"
    after = "<fake_token_around_image>"
    stamp: ClassVar[str | None] = "\nFrame from {minutes:02d}:{rest:02d}:"

    @property
    def decoder(self) -> Any:
        return self.net.model.text_model

    def encode(self, frames: Sequence[Pixels]) -> Tensor:
        made = self.pixels(frames)
        features = self.net.model.get_image_features(
            made["pixel_values"], made["pixel_attention_mask"], return_dict=True
        )
        rows = torch.cat(list(features.pooler_output))
        return rows.view(len(frames), -1, rows.shape[-1])


class Idefics3(SmolVLM):
    """Idefics3 (arXiv 2408.12637), as :class:`SmolVLM` but for the time stamps, which it has none of."""

    title = "Idefics3"
    architecture = "Idefics3ForConditionalGeneration"
    processor = "idefics3:Idefics3ImageProcessorPil"
    stamp = None


class Idefics2(SmolVLM):
    """Idefics2 (arXiv 2405.02246): a perceiver makes a fixed number of tokens of a frame; it is not split."""

    title = "Idefics2"
    fusion = "a frame's perceiver latents inserted among the text's tokens"
    architecture = "Idefics2ForConditionalGeneration"
    processor = "idefics2:Idefics2ImageProcessorPil"
    before = after = "<fake_token_around_image>"
    stamp = None

    def around(self, last: Last) -> tuple[str, str]:
        # Two images beside each other share the token between them.
        return ("" if last == "image" else self.before), self.after

    def joined(self, text: str, last: Last) -> str:
        if last == "image" and text and not text[0].isspace() and not text.startswith("<"):
            return " " + text
        return super().joined(text, last)
