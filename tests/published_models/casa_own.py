"""What the code of a CASA checkpoint computes by itself, and sessions to compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from harness.published_models.casa import Casa
from harness.published_models.model import PublishedModel
from harness.published_models.session import PublishedSession
from harness.stream import Frame, Stream

QUESTION = "is it red"
NOTHING = torch.zeros(0, 0, 0)


def own_inputs(model: PublishedModel, content: Sequence[Frame | str]) -> dict[str, Any]:
    """What the checkpoint's processor makes of a user's turn."""
    casa = model.family
    assert isinstance(casa, Casa)
    items: list[dict[str, Any]] = [
        {"type": "text", "text": item}
        if isinstance(item, str)
        else {"type": "image", "image": Image.fromarray(item.pixels)}
        for item in content
    ]
    made = casa.images.tokenize_messages([*casa.system, {"role": "user", "content": items}])
    inputs = {name: made[name].to(casa.device) for name in ("input_ids", "attention_mask")}
    pixels = [value.to(casa.device, casa.net.dtype) for value in made["pixel_values"]]
    points = [torch.as_tensor(point, device=casa.device) for point in made["image_embeds_insertion_points"]]
    return {**inputs, "pixel_values": pixels, "image_embeds_insertion_points": points}


def own_logits(model: PublishedModel, inputs: dict[str, Any]) -> Tensor:
    net: Any = model.net
    with torch.inference_mode():
        out = net(**inputs, pre_image_tokens=list(net.config.pre_image_tokens))
    logits: Tensor = out.logits[0, -1]
    return logits


def session_of(model: PublishedModel, content: Sequence[Frame | str], at_once: bool) -> PublishedSession:
    """A session that has a turn's items before the last, and the last as its question."""
    session, (*items, question) = model.session(), content
    assert isinstance(question, str)
    if not at_once:
        for item in items:
            session.append(item)
        session.append_stream(Stream(()), NOTHING, question)
        return session
    stream = Stream.of(items)
    pixels = torch.from_numpy(np.stack([frame.pixels for frame in stream.frames]))
    session.append_stream(stream, model.encode(pixels), question)
    return session


@torch.inference_mode()
def authors_loop(model: PublishedModel, frames: Sequence[Frame]) -> Tensor:
    casa, net, cache = model.family, model.net, DynamicCache()
    assert isinstance(casa, Casa)
    turn, held = casa.turn, 0

    def forward(ids: Tensor, **more: Any) -> Any:
        nonlocal held
        line = torch.arange(held, held + len(ids), device=casa.device)
        positions = line[None] if casa.axes == 1 else line.expand(3, 1, -1)
        held += len(ids)
        return net(
            ids[None].to(casa.device),
            past_key_values=cache,
            use_cache=True,
            attention_mask=torch.ones(1, held, device=casa.device),
            position_ids=positions,
            **more,
        )

    around: dict[str, Any] = {
        "pre_image_tokens": list(net.config.pre_image_tokens),  # type: ignore[union-attr, arg-type]
        "post_image_tokens": list(net.config.post_image_tokens),  # type: ignore[union-attr, arg-type]
    }
    streamed: Any = net
    casa.modules.install(casa.new_state().window)
    for number, frame in enumerate(frames):
        before, after = turn.image("", "start" if number == 0 else "image")
        streamed.start_ca_streaming_states()
        point = torch.tensor([len(before)], device=casa.device)
        pixels = casa.prepared([frame.pixels])
        ids = torch.cat((before, after))
        forward(ids, pixel_values=pixels, image_embeds_insertion_points=[point], **around)
        if number < len(frames) - 1:
            streamed.reset_ca_streaming_states()
    question = torch.cat((turn.text(QUESTION, "image"), turn.tail()))
    for token in question:
        out = forward(token[None], pixel_values=None, __is_first_gen_call__=False)
    streamed.reset_ca_streaming_states()
    logits: Tensor = out.logits[0, -1]
    return logits
