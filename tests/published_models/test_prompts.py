"""What a published model is shown: pixels, chat templates, time stamps, questions and answers."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from harness.errors import UsageError
from harness.published_models import PublishedConfig
from harness.published_models.chat import Chat, chat_of
from harness.published_models.loading import load_published
from harness.published_models.model import PublishedModel
from harness.stream import Frame, Stream
from harness.task import Question
from tests.backbones.checkpoints import change
from tests.published_models.checkpoints import processor_class

Load = Callable[[str], PublishedModel]
Folder = Callable[[str], Path]
PAD = "<|vision_start|><|image_pad|><|vision_end|>"


def question(*choices: str) -> Question:
    return Question(id="q", kind="k", prompt="which?", answer="red", chance=None, choices=choices)


def shown(model: PublishedModel, frames: tuple[Frame, ...], text: str = "is it red") -> str:
    """What a session runs for frames and a question, as text; an image's rows as one token."""
    seen: list[int] = []
    run = model.family.run

    def watch(chunk, state):  # type: ignore[no-untyped-def]
        rows = {row for image in chunk.images for row in range(image.start + 1, image.start + image.rows)}
        seen.extend(int(token) for row, token in enumerate(chunk.ids) if row not in rows)
        return run(chunk, state)

    model.family.run = watch  # type: ignore[method-assign]
    try:
        session = model.session()
        features = model.encode(torch.stack([torch.from_numpy(frame.pixels) for frame in frames]))
        session.append_stream(Stream(frames), features, text)
        session.next_logits()
    finally:
        model.family.run = run  # type: ignore[method-assign]
    return str(model.tokenizer.decode(seen))


def at(*times: float) -> tuple[Frame, ...]:
    return tuple(Frame(np.full((56, 64, 3), 90, dtype=np.uint8), time) for time in times)


def test_pixels_are_resized_and_normalised_as_the_class_does(kind: str, model: Load) -> None:
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (50, 70, 3), dtype=np.uint8) for _ in range(2)]
    family = model(kind).family
    made = family.pixels(frames)["pixel_values"]
    images = [Image.fromarray(frame) for frame in frames]
    own = processor_class(kind).from_dict(family.images.to_dict())
    again = own(family.nested(images), return_tensors="pt", **family.options)
    values = again if isinstance(again, torch.Tensor) else again["pixel_values"]
    assert torch.equal(made, values.double())


def test_a_frame_of_the_encoders_own_size_is_only_normalised(model: Load) -> None:
    family = model("qwen2_5_vl").family
    frame = np.random.default_rng(2).integers(0, 256, (56, 28, 3), dtype=np.uint8)
    rows = family.pixels([frame])["pixel_values"]
    assert rows.shape == (8, 3 * 2 * 14 * 14)
    expected = (frame[:14, :14] / 255 - np.array(family.images.image_mean)) / np.array(
        family.images.image_std
    )
    first = rows[0].reshape(3, 2, 14, 14).numpy()
    np.testing.assert_allclose(first[:, 0].transpose(1, 2, 0), expected, atol=1e-6)
    np.testing.assert_array_equal(first[:, 0], first[:, 1])


def test_every_frame_s_features_are_its_own(kind: str, model: Load, frames: tuple[Frame, ...]) -> None:
    loaded = model(kind)
    pixels = torch.stack([torch.from_numpy(frame.pixels) for frame in frames])
    together = loaded.encode(pixels)
    alone = torch.cat([loaded.encode(pixels[index : index + 1]) for index in range(len(frames))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("qwen3_vl", "<|vision_end|><1.0 seconds><|vision_start|>"),
        ("smolvlm", "<fake_token_around_image>\nFrame from 00:01:<fake_token_around_image>"),
    ],
)
def test_a_class_s_own_time_stamps_stand_where_time_moves(kind: str, expected: str, model: Load) -> None:
    text = shown(model(kind), at(0.0, 1.0, 1.0))
    assert text.count(expected) == 1
    assert "0.0 seconds" not in text
    assert "00:00" not in text


def test_time_stamps_can_be_added_and_left_out(checkpoint: Folder) -> None:
    load = functools.partial(load_published, digest="x")
    plain = load(checkpoint("qwen2_5_vl"))
    assert "seconds" not in shown(plain, at(0.0, 2.5))
    text = load(checkpoint("qwen2_5_vl"), settings={"times": "text"})
    assert "<2.5 seconds>" in shown(text, at(0.0, 2.5))
    none = load(checkpoint("smolvlm"), settings={"times": "none"})
    assert "Frame from" not in shown(none, at(0.0, 2.5))


def test_texts_beside_each_other_are_parted(model: Load) -> None:
    session = model("qwen2_5_vl").session()
    session.append("what digit")
    session.append("is it red")
    joined = model("qwen2_5_vl").session()
    joined.append("what digit\nis it red")
    torch.testing.assert_close(session.next_logits(), joined.next_logits(), rtol=0, atol=1e-6)


def test_idefics2_gives_a_word_after_an_image_its_blank(model: Load) -> None:
    assert "<fake_token_around_image> is it red" in shown(model("idefics2"), at(0.0))


def test_questions_name_the_choices(model: Load) -> None:
    asked = model("mllama")
    assert asked.prompt(question("red", "blue")) == "which?\nAnswer with one of: red, blue."
    assert asked.prompt(question()) == "which?\nAnswer with a single word or number."
    plain = PublishedModel(
        asked.family, asked.chat, asked.tokenizer, asked.stops, "x", PublishedConfig(choices=False)
    )
    assert plain.prompt(question("red")) == "which?"


def test_answers_end_at_a_stop_and_lose_their_full_stop(model: Load) -> None:
    asked = model("smolvlm")
    ids = [*asked.ids(" red."), *asked.stops, *asked.ids("blue")]
    assert asked.text_of(ids) == "red"


def test_stops_are_those_of_the_generation_settings(checkpoint: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("smolvlm"), tmp_path / "model"))
    change(folder / "generation_config.json", eos_token_id=[1, 5])
    assert load_published(folder, "x").stops == {1, 5}


def test_the_template_may_lie_in_any_of_its_places(checkpoint: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("qwen2_5_vl"), tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = chat_of(folder, tokenizer, Chat(), PAD)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokenizer.chat_template = None
    assert chat_of(folder, tokenizer, Chat(), PAD) == expected
    head = "<|im_start|>user\n"
    assert expected == Chat(head, head, "", "<|im_end|>\n<|im_start|>assistant\n")


def test_without_a_template_a_turn_is_the_start_token_or_the_class_s_form(checkpoint: Folder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("idefics"))
    default = Chat("User: ", "User:", "", "<no such token>\nAssistant:")
    found = chat_of(checkpoint("idefics"), tokenizer, default, "<image>")
    assert found == Chat("<s>User: ", "<s>User:", "", "\nAssistant:")


def test_a_template_may_open_a_turn_with_images_in_another_way(checkpoint: Folder, tmp_path: Path) -> None:
    """As Llama-3.2-Vision's does, which writes a system prompt where there is no image."""
    folder = Path(shutil.copytree(checkpoint("mllama"), tmp_path / "model"))
    written = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].content | selectattr('type', 'equalto', 'image') | list | length == 0 %}system "
        "{% endif %}" + written
    )
    chat = load_published(folder, "x").chat
    assert chat.text_first == chat.image_first == "<s><|start|>user<|end|>\n\n"


def test_a_template_that_moves_images_to_the_front_is_read_right(model: Load) -> None:
    assert model("llava_onevision").chat == Chat(
        "<|im_start|>user \n", "<|im_start|>user ", "\n", "<|im_end|><|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ broken", "cannot be rendered"),
        ("x", "leaves out the user's text"),
        ("{% for c in messages[0].content if c.type == 'text' %}{{ c.text }}{% endfor %}", "for an image"),
    ],
)
def test_a_template_that_does_not_work_is_named(
    template: str, reason: str, checkpoint: Folder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("qwen2_5_vl"), tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UsageError, match=reason) as caught:
        load_published(folder, "x")
    assert "\n" not in str(caught.value)
