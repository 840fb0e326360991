"""The processor of the tiny CASA checkpoint: token ids of messages, and images as patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerFast, ProcessorMixin

PATCH = 14


class OwnImages:
    """Frames scaled to a square of ``image_size`` pixels and cut into patches of 14 x 14."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def process_images(self, image: Image.Image) -> Tensor:
        """[1, h, w, 588]."""
        side = self.image_size
        pixels = np.asarray(image.resize((side, side)), dtype=np.float32) / 255 - 0.5
        n = side // PATCH
        patches = pixels.reshape(n, PATCH, n, PATCH, 3).transpose(0, 2, 1, 3, 4).reshape(1, n, n, -1)
        return torch.from_numpy(patches)


class OwnProcessor(ProcessorMixin):
    def __init__(self, tokenizer: Any, image_size: int, pieces: dict[str, str]) -> None:
        self.tokenizer, self.image_processor = tokenizer, OwnImages(image_size)
        self.pieces = {name: self.encode(text) for name, text in pieces.items()}
        self.pre_image_tokens, self.post_image_tokens = self.pieces["pre"], self.pieces["post"]

    @classmethod
    def from_pretrained(cls, folder: Any, **options: Any) -> Self:  # type: ignore[override]
        settings = json.loads((Path(folder) / "processor_config.json").read_text())
        size = options.get("image_size") or settings["image_size"]
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        return cls(tokenizer, size, settings["pieces"])

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def tokenize_messages(self, messages: list[dict[str, Any]]) -> BatchFeature:
        """Ids [1, T], patches of every image, and the places of images among the ids."""
        ids, points, pixels = list(self.pieces["start"]), list[int](), list[Tensor]()
        for message in messages:
            ids += self.pieces[message["role"]]
            for item in message["content"]:
                if item["type"] == "text":
                    ids += self.encode(item["text"])
                    continue
                ids += self.pre_image_tokens
                points.append(len(ids))
                ids += self.post_image_tokens
                if item["image"] is not None:
                    pixels.append(self.image_processor.process_images(item["image"])[0])
            ids += self.pieces["end"]
        ids += self.pieces["assistant"]
        made: dict[str, Any] = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
        if points:
            made["image_embeds_insertion_points"] = [torch.tensor(points)]
        if pixels:
            made["pixel_values"] = pixels
        return BatchFeature(made)
