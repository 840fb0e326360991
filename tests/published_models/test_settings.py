"""Settings of image processors as the published repositories have them, fields of older versions included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.published_models.families import family_class

_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_ALL = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "do_pad": True}
PUBLISHED: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "qwen2_5_vl": (
        {
            **_CLIP,
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
        },
        (2 * 4 * 10, 3 * 2 * 14 * 14),
    ),
    "qwen3_vl": (
        {
            **_HALF,
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
        },
        (2 * 12 * 26, 3 * 2 * 16 * 16),
    ),
    "llava_onevision": (
        {
            **_CLIP,
            **_ALL,
            "image_grid_pinpoints": [[384, 384], [384, 768], [768, 384]],
            "size": {"height": 384, "width": 384},
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "image_processor_type": "LlavaOnevisionImageProcessor",
        },
        (3, 1, 3, 384, 384),
    ),
    "smolvlm": (
        {
            **_HALF,
            **_ALL,
            "do_image_splitting": True,
            "max_image_size": {"longest_edge": 512},
            "size": {"longest_edge": 2048},
            "resample": 1,
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}},
            "image_processor_type": "SmolVLMImageProcessor",
        },
        (1, 2, 3, 512, 512),
    ),
    "idefics3": (
        {
            **_HALF,
            **_ALL,
            "do_image_splitting": True,
            "max_image_size": {"longest_edge": 364},
            "size": {"longest_edge": 1456},
            "resample": 1,
            "image_processor_type": "Idefics3ImageProcessor",
        },
        (1, 2, 3, 364, 364),
    ),
    "idefics2": (
        {
            **_HALF,
            **_ALL,
            "do_image_splitting": True,
            "size": {"longest_edge": 980, "shortest_edge": 378},
            "resample": 2,
            "image_processor_type": "Idefics2ImageProcessor",
        },
        (1, 2, 3, 378, 378),
    ),
    "mllama": (
        {
            **_CLIP,
            **_ALL,
            "max_image_tiles": 4,
            "size": {"height": 560, "width": 560},
            "resample": 2,
            "image_processor_type": "MllamaImageProcessor",
        },
        (1, 2, 4, 3, 560, 560),
    ),
    "idefics": (
        {
            **_CLIP,
            "image_num_channels": 3,
            "image_size": 224,
            "image_processor_type": "IdeficsImageProcessor",
        },
        (2, 3, 224, 224),
    ),
}


def test_every_class_is_here(kind: str) -> None:
    assert kind in PUBLISHED


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_settings_are_read(kind: str, tmp_path: Path) -> None:
    settings, shape = PUBLISHED[kind]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    family = family_class(kind)
    processor = family.image_processor(tmp_path)
    images = [Image.fromarray(np.full((56, 140, 3), level, dtype=np.uint8)) for level in (0, 200)]
    nested = family.nested(object.__new__(family), images)
    made = processor(nested, return_tensors="pt", **family.options)
    assert tuple((made if kind == "idefics" else made["pixel_values"]).shape) == shape
