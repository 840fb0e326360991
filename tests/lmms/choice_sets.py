"""Data sets whose choices are compared by likelihood; see :mod:`tests.lmms.sources`."""

from __future__ import annotations

from dataclasses import replace

from datasets import Image, List

from tests.lmms import video_sets
from tests.lmms.sources import CLIPS, OPTIONS, TEXTS, Source, each, letter, lettered, photo, texts

EGOSCHEMA = replace(video_sets.EGOSCHEMA, task="egoschema_subset_mcppl")
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
PERCEPTIONTEST = replace(video_sets.PERCEPTIONTEST, task="perceptiontest_val_mcppl")
"""Its scorer by likelihood leaves out what its metric asks for, so that lmms-eval cannot score it."""

CHOICE_SETS = (EGOSCHEMA, SEEDBENCH, WORLDQA)
