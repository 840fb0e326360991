"""Vision encoders: the contract for every registered type, and equality with their published computation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Qwen2_5_VLConfig, SiglipConfig, SiglipVisionConfig, SiglipVisionModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from harness import registry
from harness.encoders import EncoderSpec
from harness.encoders.base import Encoder
from harness.encoders.qwen2_5_vl import QwenVisionConfig, QwenVisionEncoder, normalised, pack
from harness.encoders.siglip import SiglipEncoder
from harness.errors import UsageError
from harness.models import make_encoder, shipped_encoder
from harness.settings import build_config, config_json

from .checkpoints import perturbed

registry.discover()
SETTINGS: dict[str, dict[str, Any]] = {
    "patch": {"stem": 4, "middle": 8, "content": 8, "position": 8},
    "siglip": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    "qwen2.5-vl": {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "out_hidden_size": 24,
        "window_size": 56,
        "fullatt_block_indexes": (1,),
    },
}


def make(name: str) -> Encoder:
    torch.manual_seed(0)
    cls = registry.encoders.get(name)
    encoder = cls(build_config(cls.Config, SETTINGS[name], name))
    perturbed(encoder)
    return encoder.eval()


def frames(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.fixture(params=list(registry.encoders))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return make(request.param)


@torch.no_grad()
def test_tokens_and_width_are_as_declared(encoder: Encoder) -> None:
    for rows, columns in ((1, 1), (2, 3), (5, 2)):
        height, width = rows * encoder.multiple, columns * encoder.multiple
        tokens = encoder(frames(2, height, width))
        assert tokens.shape == (2, encoder.tokens(height, width), encoder.width)
        assert torch.isfinite(tokens).all()


@torch.no_grad()
def test_a_frame_is_encoded_alone(encoder: Encoder) -> None:
    pixels = frames(3, 3 * encoder.multiple, 5 * encoder.multiple)
    alone = torch.cat([encoder(pixels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(encoder(pixels), alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_stand_in_rows_from_the_top_left(encoder: Encoder) -> None:
    """What changes lies around the pixels that changed, not around their mirror image."""
    step, rows, columns = encoder.multiple, 12, 20
    grey = torch.full((1, rows * step, columns * step, 3), 128, dtype=torch.uint8)
    spot = grey.clone()
    spot[:, 2 * step : 4 * step, 14 * step : 16 * step] = 255
    change = (encoder(spot) - encoder(grey)).square().sum(dim=-1).view(rows, columns)
    share = change / change.sum()
    centre = (share.sum(dim=1) @ torch.arange(rows).float(), share.sum(dim=0) @ torch.arange(columns).float())
    assert abs(float(centre[0]) - 2.5) < 3
    assert abs(float(centre[1]) - 14.5) < 3


def test_a_size_that_does_not_fit_is_answered_with_those_that_do(encoder: Encoder) -> None:
    step = encoder.multiple
    message = rf"multiples of {step} pixels; the nearest that fit: {step}x{2 * step} or {step}x{3 * step}"
    with pytest.raises(UsageError, match=message):
        encoder(frames(1, step // 2, 2 * step + 1))
    with pytest.raises(UsageError, match=encoder.name):
        encoder.tokens(step + 1, step)


@torch.no_grad()
def test_the_meta_device_gives_the_same_shapes(encoder: Encoder) -> None:
    size = (2, 2 * encoder.multiple, 5 * encoder.multiple, 3)
    with torch.device("meta"):
        empty = type(encoder)(encoder.settings)
    tokens = empty(torch.empty(size, dtype=torch.uint8, device="meta"))
    assert tokens.is_meta
    assert tokens.shape == encoder(frames(*size[:3])).shape
    with torch.device("meta"):
        assert empty(torch.empty(size, dtype=torch.uint8)).shape == tokens.shape


def test_the_digest_follows_the_weights(encoder: Encoder) -> None:
    same = make(encoder.name)
    assert encoder.digest == same.digest
    with torch.no_grad():
        next(same.parameters()).view(-1)[0] += 1
    assert encoder.digest != same.digest


def test_the_digest_follows_settings_that_no_weight_shows() -> None:
    cls = registry.encoders.get("qwen2.5-vl")
    one = make("qwen2.5-vl")
    other = cls(build_config(cls.Config, {**SETTINGS["qwen2.5-vl"], "window_size": 112}, "other"))
    other.load_state_dict(one.state_dict())
    assert one.digest != other.digest


def test_settings_survive_json(encoder: Encoder) -> None:
    stored = json.loads(json.dumps(config_json(encoder.settings)))
    assert build_config(type(encoder).Config, stored, encoder.name) == encoder.settings


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (48, 24)], ids=["native", "interpolated"])
def test_siglip_equals_transformers(size: tuple[int, int]) -> None:
    encoder = make("siglip")
    assert isinstance(encoder, SiglipEncoder)
    reference = SiglipVisionModel(SiglipVisionConfig(**SETTINGS["siglip"]))
    missing = reference.load_state_dict(encoder.tower.state_dict(), strict=False).missing_keys
    assert all(name.startswith("head.") for name in missing)
    pixels = frames(2, *size)
    scaled = ((pixels.numpy() / 255.0 - 0.5) / 0.5).transpose(0, 3, 1, 2).astype(np.float32)
    output = reference(torch.from_numpy(scaled), interpolate_pos_encoding=True)
    torch.testing.assert_close(encoder(pixels), output.last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (56, 84)])
def test_pixels_are_packed_as_transformers_image_processor_does(size: tuple[int, int]) -> None:
    """The processor without torchvision is plain numpy; it is given sizes that it does not resize."""
    pixels = frames(2, *size)
    processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28)
    expected = processor(images=[image.numpy() for image in pixels], return_tensors="pt")
    ours = pack(normalised(pixels, torch.float32), QwenVisionConfig())
    assert expected["image_grid_thw"].tolist() == [[1, size[0] // 14, size[1] // 14]] * 2
    torch.testing.assert_close(ours, expected["pixel_values"], atol=1e-5, rtol=1e-5)


def test_packing_repeats_a_frame_in_time() -> None:
    patches = pack(normalised(frames(1, 28, 28), torch.float32), QwenVisionConfig()).view(-1, 3, 2, 14, 14)
    assert torch.equal(patches[:, :, 0], patches[:, :, 1])


@torch.no_grad()
def test_window_blocks_see_their_window_only() -> None:
    settings: Mapping[str, Any] = {**SETTINGS["qwen2.5-vl"], "fullatt_block_indexes": ()}
    encoder = QwenVisionEncoder(build_config(QwenVisionConfig, settings, "qwen"))
    perturbed(encoder)
    pixels = frames(1, 112, 112)
    changed = pixels.clone()
    changed[:, :56, :56] = 0
    difference = (encoder(changed) - encoder(pixels)).abs().amax(dim=-1).view(4, 4)
    assert (difference[:2, :2] > 0).all()
    assert difference[2:].max() == 0
    assert difference[:, 2:].max() == 0


def test_qwens_tower_makes_1024_tokens_of_896_pixels() -> None:
    """The frame size of CASA's streaming measurements (arXiv 2512.19535v2)."""
    with torch.device("meta"):
        assert QwenVisionEncoder(QwenVisionConfig(depth=1)).tokens(896, 896) == 1024


def test_qwen_frequencies_keep_their_precision_in_a_cast() -> None:
    encoder = make("qwen2.5-vl")
    before = dict(encoder.named_buffers())
    after = dict(encoder.to(torch.bfloat16).named_buffers())
    assert before
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def _siglip_folder(folder: Path, encoder: Encoder, *, whole: bool) -> None:
    vision = {**SETTINGS["siglip"], "model_type": "siglip_vision_model"}
    document = (
        SiglipConfig(vision_config=vision).to_dict() if whole else SiglipVisionConfig(**vision).to_dict()
    )
    (folder / "config.json").write_text(json.dumps(document))
    assert isinstance(encoder, SiglipEncoder)
    tensors = {f"vision_model.{name}": tensor for name, tensor in encoder.tower.state_dict().items()}
    tensors |= {"vision_model.head.probe": torch.zeros(2), "text_model.x": torch.zeros(2)}
    save_file(tensors, folder / "model.safetensors")


def _qwen_folder(folder: Path, encoder: Encoder, prefix: str) -> None:
    document = Qwen2_5_VLConfig(vision_config=dict(SETTINGS["qwen2.5-vl"])).to_dict()
    (folder / "config.json").write_text(json.dumps(document))
    assert isinstance(encoder, QwenVisionEncoder)
    tensors = {f"{prefix}{name}": tensor for name, tensor in encoder.tower.state_dict().items()}
    save_file({**tensors, "model.layers.0.x": torch.zeros(2)}, folder / "model.safetensors")


@pytest.mark.parametrize("whole", [True, False])
def test_siglip_is_read_from_its_folder(tmp_path: Path, whole: bool) -> None:
    encoder = make("siglip")
    _siglip_folder(tmp_path, encoder, whole=whole)
    assert make_encoder(EncoderSpec.parse(f"siglip:{tmp_path}"), 0).digest == encoder.digest


@pytest.mark.parametrize("prefix", ["visual.", "model.visual."])
def test_qwens_tower_is_read_from_its_folder(tmp_path: Path, prefix: str) -> None:
    encoder = make("qwen2.5-vl")
    _qwen_folder(tmp_path, encoder, prefix)
    assert make_encoder(EncoderSpec.parse(f"qwen2.5-vl:{tmp_path}"), 0).digest == encoder.digest


def test_the_patch_encoder_is_read_from_its_folder(tmp_path: Path) -> None:
    save_file(shipped_encoder().state_dict(), tmp_path / "model.safetensors")
    assert make_encoder(EncoderSpec.parse(f"patch:{tmp_path}"), 0).digest == shipped_encoder().digest


def test_an_encoder_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    _siglip_folder(tmp_path, make("siglip"), whole=True)
    with pytest.raises(UsageError, match="model_type 'siglip', not qwen2_5_vl"):
        make_encoder(EncoderSpec.parse(f"qwen2.5-vl:{tmp_path}"), 0)
    document = json.loads((tmp_path / "config.json").read_text())
    document["vision_config"]["hidden_size"] = 48
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"do not fit what config\.json says"):
        make_encoder(EncoderSpec.parse(f"siglip:{tmp_path}"), 0)


@pytest.mark.parametrize("text", ["siglip", "siglip:", "patch:", "vit"])
def test_an_encoder_without_weights_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write TYPE:DIR"):
        EncoderSpec.parse(text)


def test_random_encoders_follow_the_seed() -> None:
    spec = EncoderSpec(type="siglip", config=SETTINGS["siglip"])
    assert make_encoder(spec, 1).digest == make_encoder(spec, 1).digest != make_encoder(spec, 2).digest
