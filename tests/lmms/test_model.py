"""The harness's models as lmms-eval's, request by request, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import UsageError
from harness.lmms.leaf import cut_at
from harness.lmms.visuals import Picture

pytestmark = pytest.mark.lmms


@pytest.fixture(scope="module")
def classes() -> tuple[Any, Any]:
    """The chat and the simple class as lmms-eval finds them, by the entry point."""
    from harness.lmms.theirs import contained

    with contained():
        from lmms_eval.models.registry_v2 import ModelRegistryV2

        registry = ModelRegistryV2()
        registry.load_entrypoint_manifests()
        found = [registry.get_model_class("fusion_harness", force_simple=simple) for simple in (False, True)]
    return found[0], found[1]


@pytest.fixture(scope="module")
def rows(data: Mapping[str, Path]) -> Any:
    from datasets import load_from_disk

    return load_from_disk(str(data["chartqa"]))


def visuals(row: Mapping[str, Any]) -> list[Any]:
    return [row["image"]]


def messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = [{"type": "image", "url": row["image"]}, {"type": "text", "text": row["question"]}]
    return [{"role": "user", "content": content}]


def simple_request(rows: Any, index: int, **generation: object) -> SimpleNamespace:
    return SimpleNamespace(args=(rows["test"][index]["question"], generation, visuals, index, "t", "test"))


def chat_request(rows: Any, index: int, **generation: object) -> SimpleNamespace:
    return SimpleNamespace(args=("", messages, generation, index, "t", "test"))


@pytest.fixture(scope="module")
def both(classes: tuple[Any, Any], rows: Any, fused: Path) -> list[Any]:
    models = [cls(checkpoint=str(fused), frames=2, batch_size=1, max_batch_size=None) for cls in classes]
    for model in models:
        model.task_dict = {"t": rows}
    return models


def test_chat_and_simple_requests_get_the_same_answer(both: list[Any], rows: Any) -> None:
    chat, simple = both
    asked = [chat_request(rows, index, max_new_tokens=3) for index in range(2)]
    answers = [answer.text for answer in chat.generate_until(asked)]
    plain = [simple_request(rows, index, max_new_tokens=3) for index in range(2)]
    assert [answer.text for answer in simple.generate_until(plain)] == answers
    assert all(answers)


def test_answers_end_at_a_stop_text(both: list[Any], rows: Any) -> None:
    (whole,) = both[0].generate_until([chat_request(rows, 0, max_new_tokens=3)])
    (cut,) = both[0].generate_until([chat_request(rows, 0, max_new_tokens=3, until=[whole.text[0]])])
    assert cut.text == ""
    assert cut_at("so: B\n\nmore", {"until": ["\n\n", "C"]}) == "so: B"
    assert cut_at("so: B", {"until": ":"}) == "so"
    assert cut_at("so: B", {"until": None}) == "so: B"


def test_the_loss_is_that_of_the_continuation_s_tokens(both: list[Any], rows: Any) -> None:
    _, simple = both
    question, model = rows["test"][0]["question"], simple.model

    def ask(continuation: object) -> tuple[float, bool]:
        request = SimpleNamespace(args=(question, continuation, visuals, 0, "t", "test"))
        (given,) = simple.loglikelihood([request])
        loss, greedy = given.text  # In what lmms-eval's evaluator leaves as it is.
        return float(loss), bool(greedy)

    sample = simple.server.sample("t/0", [Picture(rows["test"][0]["image"]), question], 1)
    session = model.session()
    session.append_spans(model.spans(sample.stream, simple.server.features(sample))[1:])
    session.append_text(question)
    logits = session.next_logits()
    (token,) = model.token_ids("A").tolist()
    loss, greedy = ask(" A")
    assert loss == pytest.approx(-float(logits.log_softmax(-1)[token]), rel=1e-4)
    assert greedy == (int(logits.argmax()) == token)
    assert loss < ask(lambda row: "a long unlikely text")[0]
    with pytest.raises(UsageError, match="has no token"):
        ask("")


def test_cleaning_leaves_the_model_whole(both: list[Any], rows: Any) -> None:
    chat, _ = both
    (before,) = chat.generate_until([chat_request(rows, 0, max_new_tokens=2)])
    chat.clean()
    (after,) = chat.generate_until([chat_request(rows, 0, max_new_tokens=2)])
    assert after == before
    assert isinstance(chat.model, torch.nn.Module)


def test_several_rounds_are_refused(both: list[Any]) -> None:
    with pytest.raises(UsageError, match="answers in one round"):
        both[0].generate_until_multi_round([])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "give method=NAME, or checkpoint=DIR"),
        ({"method": "casa", "frame": 3}, "unknown model argument 'frame': did you mean frames"),
        ({"method": "casa", "frames": "many"}, "frames='many' is not a whole number"),
        ({"method": "casa", "frames": 0}, "frames 0 is not usable"),
        ({"method": "casa", "seed": 77}, "no trained weights for casa"),
        ({"method": "cassa"}, "did you mean 'casa'"),
        ({"method": "casa", "resolution": "wide"}, "resolution 'wide' is not a whole number"),
        ({"method": "casa", "resolution": "48x0"}, "resolution 0 is not usable"),
        ({"method": "casa", "resolution": "32,64"}, "is 2 resolutions; give one"),
        ({"method": "casa", "batch_size": 0}, "batch_size 0 is not usable"),
        ({"method": "casa", "view_seed": -1}, "view_seed -1 is not usable"),
        ({"checkpoint": "hub:Qwen/Qwen2.5-VL-3B-Instruct"}, "is a published model"),
    ],
)
def test_arguments_that_cannot_be_used(
    classes: tuple[Any, Any], arguments: Mapping[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        classes[0](**arguments)


def test_a_launcher_s_processes_are_refused(
    classes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="run in one process"):
        classes[0](method="casa")
