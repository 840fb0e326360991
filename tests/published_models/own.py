"""The inputs that every class's own processor makes of a prompt and images, and its own forward pass."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer

from harness.stream import Frame
from tests.published_models.checkpoints import RECIPES, processor_class

Inputs = dict[str, Any]

PROMPTS = {
    "qwen2_5_vl": (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>"
        "what digit<|vision_start|><|image_pad|><|vision_end|>is it red<|im_end|>\n<|im_start|>assistant\n"
    ),
    "llava_onevision": (
        "<|im_start|>user <image><image>\nwhat digit<image>\nis it red<|im_end|><|im_start|>assistant\n"
    ),
    "smolvlm": "User:<image><image>what digit<image>is it red<end_of_utterance>\nAssistant:",
    "mllama": (
        "<s><|start|>user<|end|>\n\n<|image|><|image|>what digit<|image|>is it red<|eot|>"
        "<|start|>assistant<|end|>\n\n"
    ),
}
PROMPTS["qwen3_vl"] = PROMPTS["qwen2_5_vl"]
PROMPTS["idefics2"] = PROMPTS["idefics3"] = PROMPTS["smolvlm"]
"""A user's turn of two images, a text, an image and a question, as the class writes it."""

TEXT_PROMPTS = {
    "qwen2_5_vl": "<|im_start|>user\nis it red<|im_end|>\n<|im_start|>assistant\n",
    "llava_onevision": "<|im_start|>user \nis it red<|im_end|><|im_start|>assistant\n",
    "smolvlm": "User: is it red<end_of_utterance>\nAssistant:",
    "mllama": "<s><|start|>user<|end|>\n\nis it red<|eot|><|start|>assistant<|end|>\n\n",
    "idefics": "<s>User: is it red<end_of_utterance>\nAssistant:",
}
TEXT_PROMPTS["qwen3_vl"] = TEXT_PROMPTS["qwen2_5_vl"]
TEXT_PROMPTS["idefics2"] = TEXT_PROMPTS["idefics3"] = TEXT_PROMPTS["smolvlm"]
"""A question alone."""


def own_inputs(kind: str, folder: Path, frames: Sequence[Frame]) -> Inputs:
    """What the class's processor makes of its prompt; its image processor and its rule for placeholders where
    the processor needs torchvision for videos that are not used here."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = [Image.fromarray(frame.pixels) for frame in frames]
    processor = processor_class(kind).from_pretrained(folder)
    return _MAKERS[kind](kind, tokenizer, processor, images)


def text_inputs(kind: str, folder: Path) -> Inputs:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = dict(tokenizer(TEXT_PROMPTS[kind], add_special_tokens=RECIPES[kind].starts, return_tensors="pt"))
    if kind == "idefics":
        inputs["pixel_values"] = torch.zeros(1, 1, 3, 28, 28)
        inputs["image_attention_mask"] = torch.zeros(1, inputs["input_ids"].shape[1], 1, dtype=torch.long)
    return {name: inputs[name] for name in inputs if name != "token_type_ids"}


def own_logits(net: Any, inputs: Inputs, row: int = -1) -> Tensor:
    """Logits [V] after a row, the last one by default, of the class's own forward pass."""
    with torch.inference_mode():
        logits: Tensor = net(**_cast(net, inputs)).logits[0, row]
    return logits


def own_tokens(net: Any, inputs: Inputs, count: int) -> list[int]:
    """What the class's own greedy ``generate`` answers."""
    with torch.inference_mode():
        out = net.generate(**_cast(net, inputs), max_new_tokens=count, do_sample=False, pad_token_id=0)
    return [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]


def _cast(net: Any, inputs: Inputs) -> Inputs:
    return {
        name: value.to(net.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


def _tokens(tokenizer: Any, prompt: str) -> Inputs:
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _expanded(prompt: str, token: str, counts: Sequence[int], around: tuple[str, str] = ("", "")) -> str:
    parts = prompt.split(token)
    written = [around[0] + token * count + around[1] for count in counts]
    return parts[0] + "".join(image + part for image, part in zip(written, parts[1:], strict=True))


def _qwen(kind: str, tokenizer: Any, processor: Any, images: list[Image.Image]) -> Inputs:
    made = processor(images, return_tensors="pt")
    counts = [int(grid.prod()) // 4 for grid in made["image_grid_thw"]]
    inputs = _tokens(tokenizer, _expanded(PROMPTS[kind], "<|image_pad|>", counts))
    image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    return {**inputs, **made, "mm_token_type_ids": (inputs["input_ids"] == image_id).int()}


def _llava(kind: str, tokenizer: Any, processor: Any, images: list[Image.Image]) -> Inputs:
    made = processor([images], return_tensors="pt")
    prompt = _expanded(PROMPTS[kind], "<image>", [4 * 4 + 1] * len(images))
    return {**_tokens(tokenizer, prompt), **made}


def _smolvlm(kind: str, tokenizer: Any, processor: Any, images: list[Image.Image]) -> Inputs:
    made = processor([images], do_image_splitting=False, return_tensors="pt")
    fake = "<fake_token_around_image>"
    prompt = _expanded(PROMPTS[kind], "<image>", [2 * 2] * len(images), (fake + "<global-img>", fake))
    return {**_tokens(tokenizer, prompt), **made}


def _by_processor(**options: Any) -> Callable[..., Inputs]:
    def make(kind: str, tokenizer: Any, processor: Any, images: list[Image.Image]) -> Inputs:
        module = importlib.import_module(f"transformers.models.{kind}.processing_{kind}")
        own = getattr(module, f"{kind.capitalize()}Processor")(processor, tokenizer, **options)
        call = {"do_image_splitting": False} if kind.startswith("idefics") else {}
        inputs = own(
            text=[PROMPTS[kind]],
            images=[images],
            add_special_tokens=RECIPES[kind].starts,
            return_tensors="pt",
            **call,
        )
        return {name: inputs[name] for name in inputs if name not in ("token_type_ids", "mm_token_type_ids")}

    return make


def _idefics(kind: str, tokenizer: Any, processor: Any, images: list[Image.Image]) -> Inputs:
    from transformers.models.idefics.processing_idefics import IdeficsProcessor

    prompt = ["User:", *images[:2], "what digit", images[2], "is it red<end_of_utterance>\nAssistant:"]
    own: Any = IdeficsProcessor(processor, tokenizer, image_size=28)  # type: ignore[no-untyped-call]
    inputs = own(text=prompt, add_end_of_utterance_token=False, return_tensors="pt")
    return {name: inputs[name] for name in inputs if name != "token_type_ids"}


_MAKERS: dict[str, Callable[..., Inputs]] = {
    "qwen2_5_vl": _qwen,
    "qwen3_vl": _qwen,
    "llava_onevision": _llava,
    "smolvlm": _smolvlm,
    "idefics3": _by_processor(image_seq_len=4),
    "idefics2": _by_processor(image_seq_len=3),
    "mllama": _by_processor(),
    "idefics": _idefics,
}
