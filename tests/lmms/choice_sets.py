"""Data sets whose choices are compared by likelihood; see :mod:`tests.lmms.sources`."""

from __future__ import annotations

from datasets import Image, List

from tests.lmms.sources import CLIPS, OPTIONS, TEXTS, Source, each, letter, lettered, photo, texts

EGOSCHEMA = Source(
    task="egoschema_subset_mcppl",
    split="test",
    configuration="Subset",
    home="egoschema",
    videos="videos",
    clips=CLIPS,
    features={**texts("question_idx question video_idx answer"), "option": TEXTS},
    rows=each(
        lambda i: {
            "question_idx": str(i),
            "question": f"What is it about, in part {i}?",
            "video_idx": f"v{i % 2}",
            "answer": str(i),
            "option": lettered([*OPTIONS, "all of them"]),
        }
    ),
)
SEEDBENCH = Source(
    task="seedbench_ppl",
    split="test",
    features={
        "image": List(Image()),
        **texts("question choice_a choice_b choice_c choice_d answer question_id data_type"),
    },
    rows=each(
        lambda i: {
            "image": [photo(i + k) for k in range(1 + i % 3)],
            "question": "Which of them is in the picture?",
            **{f"choice_{'abcd'[k]}": OPTIONS[(i + k) % 4] for k in range(4)},
            "answer": letter(3 - i),
            "question_id": str(i),
            "data_type": "image",
        }
    ),
)
WORLDQA = Source(
    task="worldqa_mc_ppl",
    split="test",
    configuration="MC_PPL",
    home="multi-hop-reasoning",
    videos="videos",
    clips=CLIPS,
    features={**texts("question_idx question video_idx answer"), "option": TEXTS},
    rows=each(
        lambda i: {
            "question_idx": str(i),
            "question": "Why does it change?",
            "video_idx": f"v{i % 2}",
            "answer": lettered(OPTIONS)[i],
            "option": lettered(OPTIONS),
        }
    ),
)
PERCEPTIONTEST = Source(
    task="perceptiontest_val_mcppl",
    split="validation",
    configuration="mc_question_val",
    home="perceptiontest_val",
    videos="videos",
    clips=CLIPS,
    features={
        **texts("video_name question question_id answer_id area reasoning"),
        "options": TEXTS,
        "tag": TEXTS,
    },
    rows=each(
        lambda i: {
            "video_name": f"v{i % 2}",
            "question": "Which way does it go?",
            "question_id": str(i),
            "answer_id": str(i % 3),
            "area": "Physics",
            "reasoning": "Descriptive",
            "options": [OPTIONS[(i + k) % 4] for k in range(3)],
            "tag": ["motion"],
        }
    ),
)
"""Its scorer by likelihood leaves out what its metric asks for, so that lmms-eval cannot score it."""

CHOICE_SETS = (EGOSCHEMA, SEEDBENCH, WORLDQA)
