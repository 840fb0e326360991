"""Choices compared by likelihood: their command line and the harness's loop agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.likelihood import likeliest
from harness.lmms.task import LmmsTask
from harness.measure.accuracy import Scorer, aggregates, summarise
from harness.settings import build_config
from harness.task import View
from tests.lmms import both_ways
from tests.lmms.choice_sets import CHOICE_SETS, PERCEPTIONTEST
from tests.lmms.sources import OPTIONS, Source

pytestmark = pytest.mark.lmms

VIEW = View(frames=2, height=32, width=32)
IDS = [source.task for source in CHOICE_SETS]


@pytest.fixture(scope="module")
def theirs(
    tmp_path_factory: pytest.TempPathFactory, choice_data: Mapping[str, Path], fused: Path
) -> both_ways.Theirs:
    """Only their simple models get such requests."""
    folder = tmp_path_factory.mktemp("theirs")
    return both_ways.theirs(folder, CHOICE_SETS, choice_data, fused, "--force_simple")


@pytest.fixture(scope="module")
def ours(
    tmp_path_factory: pytest.TempPathFactory, choice_data: Mapping[str, Path], fused: Path
) -> both_ways.Ours:
    sources = (*CHOICE_SETS, PERCEPTIONTEST)
    return both_ways.ours(tmp_path_factory.mktemp("views"), sources, choice_data, fused)


@pytest.fixture
def opened(choice_data: Mapping[str, Path]) -> Any:
    def make(name: str) -> LmmsTask:
        cls = registry.tasks.get(f"lmms:{name}")
        task = cls(build_config(cls.Config, {"data": str(choice_data[name])}, name))
        assert isinstance(task, LmmsTask)
        return task

    return make


@pytest.mark.slow
@pytest.mark.parametrize("source", CHOICE_SETS, ids=IDS)
def test_losses_and_answers_are_the_same(source: Source, theirs: Any, ours: Any) -> None:
    _, outcomes = ours[source.task]
    logged = theirs[1][source.task]
    assert len(outcomes) == len(logged) == len(source.rows)
    for outcome, sample in zip(outcomes, logged, strict=True):
        losses = [float(loss) for loss, _ in sample["filtered_resps"]]
        assert outcome.choice_losses == pytest.approx(losses, rel=1e-4)
        assert likeliest(losses) == likeliest(outcome.choice_losses)
        assert outcome.status == "scored"


@pytest.mark.slow
@pytest.mark.parametrize("source", CHOICE_SETS, ids=IDS)
def test_scores_and_metrics_are_the_same(source: Source, theirs: Any, ours: Any) -> None:
    task, outcomes = ours[source.task]
    table = theirs[0]["results"][f"local_{source.task}"]
    ((metric, value),) = aggregates(task, outcomes, print).items()
    assert table[f"{metric},none"] == pytest.approx(value)
    assert summarise(outcomes).mean == pytest.approx(value)
    for outcome, sample in zip(outcomes, theirs[1][source.task], strict=True):
        own = sample[metric]
        right = str(own["pred"]) == str(own["ground_truth"]) if isinstance(own, dict) else own
        assert outcome.value == float(right)
        assert outcome.value == float(outcome.prediction == outcome.answer)


@pytest.mark.slow
def test_some_answers_are_right_and_some_wrong(ours: Any) -> None:
    values = {outcome.value for _, outcomes in ours.values() for outcome in outcomes}
    assert values == {0.0, 1.0}


def test_what_their_metric_misses_is_put_in(ours: Any) -> None:
    """PerceptionTest's scorer by likelihood gives no ``correct``, which its metric reads."""
    task, outcomes = ours[PERCEPTIONTEST.task]
    assert aggregates(task, outcomes, print) == {"accuracy": pytest.approx(summarise(outcomes).mean)}
    assert {outcome.chance for outcome in outcomes} == {1 / 3}


@pytest.mark.parametrize("name", [*IDS, PERCEPTIONTEST.task])
def test_the_likeliest_choice_is_scored_as_the_task_does(name: str, opened: Any) -> None:
    task = opened(name)
    for sample in task.samples(VIEW):
        (question,) = sample.questions
        right = question.choices.index(question.answer)
        assert (question.by_likelihood, question.chance) == (True, 1 / len(question.choices))
        for place, choice in enumerate(question.choices):
            losses = tuple(2.0 - float(other == place) for other in range(len(question.choices)))
            outcome = Scorer(task, print).outcome(sample, question, losses)
            assert (outcome.prediction, outcome.choice_losses) == (choice, losses)
            assert (outcome.status, outcome.value) == ("scored", float(place == right))


def test_the_first_of_equal_choices_is_taken(opened: Any) -> None:
    sample = opened("seedbench_ppl").samples(VIEW)[3]
    (question,) = sample.questions
    outcome = Scorer(opened("seedbench_ppl"), print).outcome(sample, question, (1.0,) * 4)
    assert (outcome.prediction, question.answer, outcome.value) == (OPTIONS[3], OPTIONS[3], 1.0)


def test_a_choice_without_text_is_an_error_of_its_question(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = opened("seedbench_ppl")
    leaf = task._leaves["seedbench_ppl"]
    monkeypatch.setattr(leaf._task, "doc_to_choice", lambda document: ["a", " "])
    sample = task.samples(VIEW)[0]
    outcome = Scorer(task, print).outcome(sample, sample.questions[0], None)
    assert outcome.status == "error"
    assert "each needs a text" in str(outcome.reason)
