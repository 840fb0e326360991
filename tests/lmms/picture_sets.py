"""Data sets about one or several images; see :mod:`tests.lmms.sources`."""

from __future__ import annotations

from datasets import Image, List

from tests.lmms.sources import LETTERS, NUMBER, OPTIONS, TEXT, TEXTS, Source, each, letter, photo

MUIRBENCH = Source(
    task="muirbench",
    split="test",
    features={
        **{name: TEXT for name in ("idx", "task", "image_relation", "image_type", "question", "answer")},
        "options": TEXTS,
        "image_list": List(Image()),
    },
    rows=each(
        lambda i: {
            "idx": str(i),
            "task": "Counting" if i % 2 else "Ordering",
            "image_relation": "Temporal",
            "image_type": "photography",
            "question": "<image> <image> Which is older?",
            "answer": letter(i),
            "options": OPTIONS,
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
    rows=each(
        lambda i: {
            "id": f"q{i}",
            "question_type": "multi-choice" if i % 2 else "short-answer",
            "question": "Which of the pictures shows more?",
            "answer": letter(i) if i % 2 else "yes",
            "category": "comparison",
            "options": [f"({letter}) {option}" for letter, option in zip(LETTERS, OPTIONS, strict=True)],
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
    rows=each(
        lambda i: {
            "idx": f"val_Art_Style_{i}",
            "sub_task": "Art_Style",
            "question": "Which is in the style of the first?",
            "prompt": "Which is in the style of the first?\n(A) the second image\n(B) the third image",
            "answer": f"({letter(i % 2)})",
            "explanation": "",
            "choices": ["the second image", "the third image"],
            **{f"image_{k}": photo(i + k) if k < 4 else None for k in range(1, 5)},
        }
    ),
)
CHARTQA = Source(
    task="chartqa",
    split="test",
    features={"type": TEXT, "question": TEXT, "answer": TEXT, "image": Image()},
    rows=each(
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
    rows=each(
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
    rows=each(
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
    rows=each(
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
    rows=each(
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
    rows=each(
        lambda i: {
            "question": "What does A name?",
            "options": OPTIONS,
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
    rows=each(
        lambda i: {
            "question_id": f"existence/{i // 2}.jpg",
            "question": "Is there a dog? Please answer yes or no.",
            "answer": ("Yes", "No")[i % 2],
            "category": ("existence", "commonsense_reasoning")[i // 2],
            "image": photo(i // 2),
        }
    ),
)

PICTURE_SETS = (MUIRBENCH, MANTIS, BLINK, CHARTQA, DOCVQA, INFOVQA, OCRBENCH, TEXTVQA, REALWORLDQA, AI2D, MME)
