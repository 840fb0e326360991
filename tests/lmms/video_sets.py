"""Data sets about videos; see :mod:`tests.lmms.sources`."""

from __future__ import annotations

from datasets import Value

from tests.lmms.sources import CLIPS, NUMBER, OPTIONS, TEXT, TEXTS, Source, each, letter, lettered, texts

MVBENCH = Source(
    task="mvbench_action_antonym",
    split="train",
    configuration="action_antonym",
    home="mvbench_video",
    videos="ssv2_video_mp4",
    clips=CLIPS,
    features={"video": TEXT, "question": TEXT, "candidates": TEXTS, "answer": TEXT},
    rows=each(
        lambda i: {
            "video": f"v{i % 2}.mp4",
            "question": "What happens?",
            "candidates": OPTIONS[:3],
            "answer": OPTIONS[i % 3],
        }
    ),
)
EGOSCHEMA = Source(
    task="egoschema_subset",
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
VIDEOMME = Source(
    task="videomme",
    split="test",
    home="videomme",
    videos="data",
    clips=CLIPS,
    features={
        **texts("video_id duration domain sub_category url videoID question_id task_type"),
        "question": TEXT,
        "options": TEXTS,
        "answer": TEXT,
    },
    rows=each(
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
            "options": lettered(OPTIONS),
            "answer": letter(i),
        }
    ),
)
PERCEPTIONTEST = Source(
    task="perceptiontest_val_mc",
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
MLVU = Source(
    task="mlvu_dev",
    split="test",
    home="mlvu",
    videos=".",
    clips=CLIPS,
    features={"video_name": TEXT, "question": TEXT, "answer": TEXT, "task_type": TEXT},
    rows=each(
        lambda i: {
            "video_name": f"v{i % 2}.mp4",
            "question": "What comes first?\n(A) red\n(B) blue",
            "answer": letter(i),
            "task_type": "order" if i % 2 else "ego",
        }
    ),
)
LONGVIDEOBENCH = Source(
    task="longvideobench_val_v",
    split="validation",
    home="datasets/longvideobench",
    videos="videos",
    clips=CLIPS,
    features={
        **{name: TEXT for name in ("id", "video_path", "question", "question_category", "subtitle_path")},
        **{f"option{k}": TEXT for k in range(5)},
        **{name: NUMBER for name in ("correct_choice", "duration_group")},
        "duration": Value("float64"),
    },
    rows=each(
        lambda i: {
            "id": f"lvb_{i}",
            "video_path": f"v{i % 2}.mp4",
            "question": "What is seen at the end?",
            "question_category": "S2E",
            "subtitle_path": "",
            **{f"option{k}": [*OPTIONS, "N/A"][k] for k in range(5)},
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
    rows=each(
        lambda i: {
            "video": 7 + i % 2,
            "frame_count": 24,
            "width": 128,
            "height": 128,
            "answer": i,
            "qid": i,
            "question": "why does it change",
            "type": "CW",
            **{f"a{k}": [*OPTIONS, "all"][k] for k in range(5)},
        }
    ),
)

VIDEO_SETS = (MVBENCH, EGOSCHEMA, VIDEOMME, PERCEPTIONTEST, MLVU, LONGVIDEOBENCH, NEXTQA)
