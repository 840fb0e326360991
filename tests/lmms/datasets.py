"""Small data sets in the schema of the real ones: the harness's own H.264 clips and photographs.

Each is what a user downloads: a folder with the documents, and for videos the files as the archives unpack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pillow

from harness.media.clipset import draw_clip
from harness.media.pictures import crop
from harness.media.sampling import CLIP_FPS
from harness.media.video import encode_h264

ROWS = 4
LETTERS = "ABCD"
TEXT, NUMBER, TEXTS = Value("string"), Value("int64"), List(Value("string"))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task of lmms-eval with its documents. ``videos`` is the folder of its clips below the task's cache
    folder ``home``; None for tasks of images."""

    task: str
    split: str
    rows: Sequence[Mapping[str, Any]]
    features: Mapping[str, Any]
    configuration: str | None = None
    home: str | None = None
    videos: str | None = None
    clips: Mapping[str, int] | None = None


def write(source: Source, folder: Path) -> Path:
    """Put a data set into ``folder``; return the folder that `--data` is given."""
    where = folder / (source.home or source.task)
    table = Dataset.from_list([dict(row) for row in source.rows], features=Features(dict(source.features)))
    inner = where / source.configuration if source.configuration else where
    DatasetDict({source.split: table}).save_to_disk(str(inner))
    if source.videos is not None:
        for name, index in (source.clips or {}).items():
            path = where / source.videos / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(clip(index))
    return where


@lru_cache(maxsize=8)
def clip(index: int) -> bytes:
    """One of the evaluation clips of videoqa, as a file."""
    _, frames = draw_clip(index)
    return encode_h264(frames[:24], CLIP_FPS)


@lru_cache(maxsize=32)
def photo(index: int) -> Pillow.Image:
    """A piece of a photograph, of a size of its own."""
    rng = np.random.default_rng(index)
    return Pillow.fromarray(crop(rng, index % 3, 48 + 8 * (index % 3), 64, "test"))


def _each(make: Callable[[int], Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [make(index) for index in range(ROWS)]


def _letter(index: int) -> str:
    return LETTERS[index % 4]


def _lettered(options: Sequence[str]) -> list[str]:
    return [f"{letter}. {option}" for letter, option in zip("ABCDE", options, strict=False)]


def _texts(names: str) -> dict[str, Value]:
    return dict.fromkeys(names.split(), TEXT)


_OPTIONS = ["a red one", "a green one", "a blue one", "none"]
_CLIPS = {f"v{index}.mp4": index for index in range(2)}

MUIRBENCH = Source(
    task="muirbench",
    split="test",
    features={
        **{name: TEXT for name in ("idx", "task", "image_relation", "image_type", "question", "answer")},
        "options": TEXTS,
        "image_list": List(Image()),
    },
    rows=_each(
        lambda i: {
            "idx": str(i),
            "task": "Counting" if i % 2 else "Ordering",
            "image_relation": "Temporal",
            "image_type": "photography",
            "question": "<image> <image> Which is older?",
            "answer": _letter(i),
            "options": _OPTIONS,
            "image_list": [photo(i + k) for k in range(2 + i % 2)],
        }
    ),
)
MANTIS = Source(
    task="mantis",
    split="test",
    features={
        **{name: TEXT for name in ("id", "question_type", "question", "answer", "category")},
        "options": TEXTS,
        "images": List(Image()),
    },
    rows=_each(
        lambda i: {
            "id": f"q{i}",
            "question_type": "multi-choice" if i % 2 else "short-answer",
            "question": "Which of the pictures shows more?",
            "answer": _letter(i) if i % 2 else "yes",
            "category": "comparison",
            "options": [f"({letter}) {option}" for letter, option in zip(LETTERS, _OPTIONS, strict=True)],
            "images": [photo(i + 3 + k) for k in range(2)],
        }
    ),
)
BLINK = Source(
    task="blink_art_style",
    split="val",
    configuration="Art_Style",
    features={
        **{name: TEXT for name in ("idx", "sub_task", "question", "prompt", "answer", "explanation")},
        "choices": TEXTS,
        **{f"image_{k}": Image() for k in range(1, 5)},
    },
    rows=_each(
        lambda i: {
            "idx": f"val_Art_Style_{i}",
            "sub_task": "Art_Style",
            "question": "Which is in the style of the first?",
            "prompt": "Which is in the style of the first?\n(A) the second image\n(B) the third image",
            "answer": f"({_letter(i % 2)})",
            "explanation": "",
            "choices": ["the second image", "the third image"],
            **{f"image_{k}": photo(i + k) if k < 4 else None for k in range(1, 5)},
        }
    ),
)
MVBENCH = Source(
    task="mvbench_action_antonym",
    split="train",
    configuration="action_antonym",
    home="mvbench_video",
    videos="ssv2_video_mp4",
    clips=_CLIPS,
    features={"video": TEXT, "question": TEXT, "candidates": TEXTS, "answer": TEXT},
    rows=_each(
        lambda i: {
            "video": f"v{i % 2}.mp4",
            "question": "What happens?",
            "candidates": _OPTIONS[:3],
            "answer": _OPTIONS[i % 3],
        }
    ),
)
EGOSCHEMA = Source(
    task="egoschema_subset",
    split="test",
    configuration="Subset",
    home="egoschema",
    videos="videos",
    clips=_CLIPS,
    features={
        **{name: TEXT for name in ("question_idx", "question", "video_idx", "answer")},
        "option": TEXTS,
    },
    rows=_each(
        lambda i: {
            "question_idx": str(i),
            "question": "What is it about?",
            "video_idx": f"v{i % 2}",
            "answer": str(i),
            "option": [
                f"{letter}. {option}" for letter, option in zip("ABCDE", [*_OPTIONS, "all"], strict=True)
            ],
        }
    ),
)
VIDEOMME = Source(
    task="videomme",
    split="test",
    home="videomme",
    videos="data",
    clips=_CLIPS,
    features={
        **_texts("video_id duration domain sub_category url videoID question_id task_type"),
        "question": TEXT,
        "options": TEXTS,
        "answer": TEXT,
    },
    rows=_each(
        lambda i: {
            "video_id": f"00{i % 2}",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Astronomy",
            "url": "",
            "videoID": f"v{i % 2}",
            "question_id": f"00{i}-1",
            "task_type": "Counting Problem",
            "question": "How many are there?",
            "options": _lettered(_OPTIONS),
            "answer": _letter(i),
        }
    ),
)
PERCEPTIONTEST = Source(
    task="perceptiontest_val_mc",
    split="validation",
    configuration="mc_question_val",
    home="perceptiontest_val",
    videos="videos",
    clips=_CLIPS,
    features={
        **{
            name: TEXT for name in ("video_name", "question", "question_id", "answer_id", "area", "reasoning")
        },
        "options": TEXTS,
        "tag": TEXTS,
    },
    rows=_each(
        lambda i: {
            "video_name": f"v{i % 2}",
            "question": "Which way does it go?",
            "question_id": str(i),
            "answer_id": str(i % 3),
            "area": "Physics",
            "reasoning": "Descriptive",
            "options": _OPTIONS[:3],
            "tag": ["motion"],
        }
    ),
)
MLVU = Source(
    task="mlvu_dev",
    split="test",
    home="mlvu",
    videos=".",
    clips=_CLIPS,
    features={"video_name": TEXT, "question": TEXT, "answer": TEXT, "task_type": TEXT},
    rows=_each(
        lambda i: {
            "video_name": f"v{i % 2}.mp4",
            "question": "What comes first?\n(A) red\n(B) blue",
            "answer": _letter(i),
            "task_type": "order" if i % 2 else "ego",
        }
    ),
)
LONGVIDEOBENCH = Source(
    task="longvideobench_val_v",
    split="validation",
    home="datasets/longvideobench",
    videos="videos",
    clips=_CLIPS,
    features={
        **{name: TEXT for name in ("id", "video_path", "question", "question_category", "subtitle_path")},
        **{f"option{k}": TEXT for k in range(5)},
        **{name: NUMBER for name in ("correct_choice", "duration_group")},
        "duration": Value("float64"),
    },
    rows=_each(
        lambda i: {
            "id": f"lvb_{i}",
            "video_path": f"v{i % 2}.mp4",
            "question": "What is seen at the end?",
            "question_category": "S2E",
            "subtitle_path": "",
            **{f"option{k}": [*_OPTIONS, "N/A"][k] for k in range(5)},
            "correct_choice": i,
            "duration_group": 15,
            "duration": 6.0,
        }
    ),
)
NEXTQA = Source(
    task="nextqa_mc_test",
    split="test",
    configuration="MC",
    home="nextqa",
    videos="NExTVideo",
    clips={"7.mp4": 0, "8.mp4": 1},
    features={
        **{name: NUMBER for name in ("video", "frame_count", "width", "height", "answer", "qid")},
        **{name: TEXT for name in ("question", "type", "a0", "a1", "a2", "a3", "a4")},
    },
    rows=_each(
        lambda i: {
            "video": 7 + i % 2,
            "frame_count": 24,
            "width": 128,
            "height": 128,
            "answer": i,
            "qid": i,
            "question": "why does it change",
            "type": "CW",
            **{f"a{k}": [*_OPTIONS, "all"][k] for k in range(5)},
        }
    ),
)
CHARTQA = Source(
    task="chartqa",
    split="test",
    features={"type": TEXT, "question": TEXT, "answer": TEXT, "image": Image()},
    rows=_each(
        lambda i: {
            "type": "human_test" if i % 2 else "augmented_test",
            "question": "What is the value?",
            "answer": ("4", "yes", "A", "no")[i],
            "image": photo(i),
        }
    ),
)
_DOCVQA_FEATURES = {
    **{name: TEXT for name in ("questionId", "question", "docId")},
    "answers": TEXTS,
    "image": Image(),
}
DOCVQA = Source(
    task="docvqa_val",
    split="validation",
    configuration="DocVQA",
    features=_DOCVQA_FEATURES,
    rows=_each(
        lambda i: {
            "questionId": str(i),
            "question": "What is written?",
            "docId": str(i),
            "answers": ["A A", "B", ("yes", "no")[i % 2]],
            "image": photo(i),
        }
    ),
)
INFOVQA = Source(
    task="infovqa_val",
    split="validation",
    configuration="InfographicVQA",
    features=_DOCVQA_FEATURES,
    rows=DOCVQA.rows,
)
OCRBENCH = Source(
    task="ocrbench",
    split="test",
    features={"dataset": TEXT, "question": TEXT, "question_type": TEXT, "answer": TEXTS, "image": Image()},
    rows=_each(
        lambda i: {
            "dataset": "IIIT5K",
            "question": "what is written in the image?",
            "question_type": ("Regular Text Recognition", "Doc-oriented VQA")[i % 2],
            "answer": [("a", "b", "yes", "no")[i]],
            "image": photo(i),
        }
    ),
)
TEXTVQA = Source(
    task="textvqa_val",
    split="validation",
    features={
        "question_id": NUMBER,
        "question": TEXT,
        "image_id": TEXT,
        "image": Image(),
        "answers": TEXTS,
        "ocr_tokens": TEXTS,
    },
    rows=_each(
        lambda i: {
            "question_id": i,
            "question": "what does it say",
            "image_id": str(i),
            "image": photo(i),
            "answers": [("yes", "no", "b", "c")[(i + k) % (2 + i % 3)] for k in range(10)],
            "ocr_tokens": ["yes"],
        }
    ),
)
REALWORLDQA = Source(
    task="realworldqa",
    split="test",
    features={"image": Image(), "question": TEXT, "answer": TEXT},
    rows=_each(
        lambda i: {
            "image": photo(i),
            "question": "Is it day?\nA. Yes\nB. No\nPlease answer directly.",
            "answer": ("A", "B", "yes", "no")[i],
        }
    ),
)
AI2D = Source(
    task="ai2d",
    split="test",
    features={"question": TEXT, "options": TEXTS, "answer": TEXT, "image": Image()},
    rows=_each(
        lambda i: {
            "question": "What does A name?",
            "options": _OPTIONS,
            "answer": str(i),
            "image": photo(i),
        }
    ),
)
MME = Source(
    task="mme",
    split="test",
    features={
        **{name: TEXT for name in ("question_id", "question", "answer", "category")},
        "image": Image(),
    },
    rows=_each(
        lambda i: {
            "question_id": f"existence/{i // 2}.jpg",
            "question": "Is there a dog? Please answer yes or no.",
            "answer": ("Yes", "No")[i % 2],
            "category": ("existence", "commonsense_reasoning")[i // 2],
            "image": photo(i // 2),
        }
    ),
)
SOURCES = (
    *(MUIRBENCH, MANTIS, BLINK, MVBENCH, EGOSCHEMA, VIDEOMME, PERCEPTIONTEST, MLVU, LONGVIDEOBENCH, NEXTQA),
    *(CHARTQA, DOCVQA, INFOVQA, OCRBENCH, TEXTVQA, REALWORLDQA, AI2D, MME),
)
