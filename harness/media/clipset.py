"""The evaluation clips of videoqa as a data set: video files with their truth, in shards of 32 clips.

Clip i depends on i alone, so a shard is the same however many clips are asked for. A shard's fingerprint is
a SHA-256 over the truths and the raw pixels before the codec; the first shards' are pinned here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InfrastructureError
from harness.media.cache import cached_dataset
from harness.media.clips import Clips, Style, Truth, Turn, draw_clips
from harness.media.digits import digit_bank
from harness.media.render import NATIVE_PX, render
from harness.media.sampling import CLIP_FPS, CLIP_FRAMES
from harness.media.video import CRF, PRESET, encode_h264
from harness.stream import Pixels

if TYPE_CHECKING:
    from datasets import Dataset

SHARD = 32
_SEED = 514229
_ORDER: tuple[Style, ...] = tuple(
    {"c": "changing", "d": "dialogue", "m": "moving"}[letter]  # type: ignore[misc]
    for letter in "cdmcmcdcmcdmcmcd"
)
"""Styles of clips i, i + 16, ...: 7 changing, 4 dialogue, 5 moving, mixed in every prefix."""
FINGERPRINTS: tuple[str, ...] = (
    "2acbfa9e27007a1572556c7a15887e65",
    "f91d148c7cf9155945f300e54237fb56",
    "1f72a771397bbee8fc2d6e74e8dad94b",
    "45253342d1339409c4a03a97b5703611",
    "c48513b80d2eb071cc45bdcd843591e0",
    "e09897e80975983cfe7feb529272754e",
    "ce61bc7eb545161b6aed7f3cff20f1b7",
    "1ea5c7d69f3845d09aea62e8a051de68",
)
"""Of shards 0, 1, ...; a change of any of them is a change of the task and raises its version."""


def clip_style(index: int) -> Style:
    return _ORDER[index % len(_ORDER)]


def draw_clip(index: int) -> tuple[Truth, Pixels]:
    """Evaluation clip ``index``: its truth and its raw frames [64, 128, 128, 3], of test instances."""
    rng = np.random.default_rng([_SEED, index])
    bank = digit_bank("test")
    clips: Clips = draw_clips(rng, bank, [clip_style(index)])
    frames = np.arange(CLIP_FRAMES)
    zeros = np.zeros_like(frames)
    shown = clips.frames(zeros, frames)
    return clips.truths[0], render(rng, shown, clips.backdrops, zeros, NATIVE_PX, NATIVE_PX, bank)


def dump_truth(truth: Truth) -> str:
    return json.dumps(asdict(truth), sort_keys=True, separators=(",", ":"))


def load_truth(text: str) -> Truth:
    fields = json.loads(text)
    turns = tuple(Turn(**turn) for turn in fields.pop("turns"))
    return Truth(**fields, turns=turns)


def _rows(shard: int, state: hashlib._Hash) -> Iterator[dict[str, object]]:
    for index in range(shard * SHARD, (shard + 1) * SHARD):
        truth, frames = draw_clip(index)
        text = dump_truth(truth)
        state.update(text.encode())
        state.update(frames.tobytes())
        video = encode_h264(frames, CLIP_FPS)
        yield {
            "clip": f"clip-{index:04d}",
            "style": truth.style,
            "video": {"bytes": video, "path": f"clip-{index:04d}.mp4"},
            "sha256": hashlib.sha256(video).hexdigest(),
            "truth": text,
        }


def build_shard(shard: int) -> tuple[Dataset, str]:
    """Draw and encode one shard; returns it with its fingerprint."""
    from datasets import Dataset, DatasetInfo, Features, Value, Video

    state = hashlib.sha256()
    rows = list(_rows(shard, state))
    text = Value("string")
    features = Features(
        {"clip": text, "style": text, "video": Video(decode=False), "sha256": text, "truth": text}
    )
    info = DatasetInfo(
        description="16-second H.264 clips of handwritten digits, with their truth",
        license="MIT; digits: CC BY 4.0",
        features=features,
    )
    columns = {name: [row[name] for row in rows] for name in features}
    fingerprint = state.hexdigest()[:32]
    return Dataset.from_dict(columns, features=features, info=info), fingerprint


def _checked(shard: int) -> Dataset:
    dataset, fingerprint = build_shard(shard)
    if shard < len(FINGERPRINTS) and fingerprint != FINGERPRINTS[shard]:
        raise InfrastructureError(
            f"evaluation clips {shard * SHARD} to {(shard + 1) * SHARD - 1} come out as {fingerprint}, not "
            f"as {FINGERPRINTS[shard]}; install the numpy, pillow and scikit-learn of constraints.txt"
        )
    return dataset


def load_clips(count: int) -> Dataset:
    """The first ``count`` evaluation clips, from the cache or made now."""
    from datasets import concatenate_datasets

    shards = range(-(-count // SHARD))
    version = f"{_SEED}-{PRESET}{CRF}"
    parts = [
        cached_dataset(_name(shard, version), lambda shard=shard: _checked(shard))  # type: ignore[misc]
        for shard in shards
    ]
    whole = concatenate_datasets(parts) if len(parts) > 1 else parts[0]
    return whole.select(range(count))


def _name(shard: int, version: str) -> str:
    """A changed fingerprint, seed or codec setting is another folder."""
    pinned = FINGERPRINTS[shard][:12] if shard < len(FINGERPRINTS) else "free"
    return f"videoqa-{version}-{shard:03d}-{pinned}"
