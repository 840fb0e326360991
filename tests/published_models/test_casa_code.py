"""Code of a CASA checkpoint that cannot be used is refused before anything is measured."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from harness.errors import UsageError
from harness.published_models.casa import Casa
from harness.published_models.casa_turn import tokenized
from harness.published_models.loading import load_published
from tests.published_models.casa_checkpoint import write_casa
from tests.published_models.casa_own import QUESTION

_NUMBERS = itertools.count()
MODEL, PROCESSOR = "modeling_own.py", "processing_own.py"


@pytest.fixture
def place(tmp_path: Path, own_code: None) -> Path:
    """A checkpoint that a test may change."""
    place = tmp_path / f"casa_{next(_NUMBERS)}"
    write_casa(place)
    return place


def change_code(place: Path, name: str, old: str, new: str) -> None:
    code = (place / name).read_text()
    assert old in code
    (place / name).write_text(code.replace(old, new))


TEXT_OF = "(messages[-1]['content'][-1].get('text') or '')"
BROKEN = [
    (MODEL, "reset_ca_", "reset_casa_", "no reset_ca_streaming_states"),
    (MODEL, "self.image_prefix(", "self.image_prefix.forward(", "elsewhere than in image_prefix"),
    (MODEL, "return self.mix(q, torch.cat(keys", "return 0 * self.mix(q, torch.cat(keys", "no effect"),
    (MODEL, "position_ids.reshape(-1, rows)[0]", "torch.arange(rows)", "other logits than one pass"),
    (MODEL, "self._held.image = image", "pass", "other logits than one pass"),
    (PROCESSOR, "def tokenize_messages", "def tokenise", "no tokenize_messages"),
    (PROCESSOR, 'item["text"]', 'item["text"].upper()', "does not write 'red'"),
    (PROCESSOR, "points.append(len(ids))", "points.append(0)", "does not put the tokens"),
    (PROCESSOR, "points.append(len(ids))", "pass", "puts one image at"),
    (PROCESSOR, "ids += self.pre_", f"ids += [7] * (len{TEXT_OF} > 3) + self.pre_", "for different texts"),
]


@pytest.mark.parametrize(("name", "old", "new", "expected"), BROKEN)
def test_what_the_adapter_cannot_use_is_named(
    place: Path, name: str, old: str, new: str, expected: str
) -> None:
    change_code(place, name, old, new)
    with pytest.raises(UsageError, match=rf"cannot be run here: .*{expected}.*take another commit") as caught:
        load_published(place, "x", trust_remote_code=True)
    assert "\n" not in str(caught.value)


def test_sessions_that_would_disturb_each_other_are_refused(place: Path) -> None:
    """State outside of the modules cannot be told apart by session."""
    change_code(place, MODEL, "layer._held", "CrossAttention._held")
    change_code(place, MODEL, "self._held: Held | None = None", "pass")
    change_code(
        place,
        MODEL,
        "class CrossAttention(Attention):\n",
        "class CrossAttention(Attention):\n    _held: Any = None\n",
    )
    with pytest.raises(UsageError, match="other logits than one pass"):
        load_published(place, "x", trust_remote_code=True)


@pytest.mark.parametrize(
    ("name", "old"),
    [
        (MODEL, "from transformers import DynamicCache, PreTrainedModel"),
        (PROCESSOR, "from transformers import BatchFeature, PreTrainedTokenizerFast, ProcessorMixin"),
        ("configuration_own.py", "from transformers import PretrainedConfig"),
    ],
)
def test_code_for_another_transformers_names_both_versions(place: Path, name: str, old: str) -> None:
    import transformers

    change_code(place, name, old, old.replace("import ", "import WhatIsGone, "))
    change_code(place, "config.json", transformers.__version__, "4.51.3")
    expected = rf"does not run with transformers {transformers.__version__} .*WhatIsGone.*saved with 4\.51\.3"
    with pytest.raises(UsageError, match=expected) as caught:
        load_published(place, "x", trust_remote_code=True)
    assert "\n" not in str(caught.value)


def test_pieces_of_a_turn_make_what_the_processor_writes(place: Path) -> None:
    model = load_published(place, "x", trust_remote_code=True)
    casa = model.family
    assert isinstance(casa, Casa)
    content = [{"type": "image", "image": None}, {"type": "text", "text": QUESTION}]
    ids, points = tokenized(casa.images, [{"role": "user", "content": content}])
    before, after = casa.turn.image("", "start")
    written = torch.cat((before, after, casa.turn.text(QUESTION, "image"), casa.turn.tail()))
    assert written.tolist() == ids
    assert points == [len(before)]
