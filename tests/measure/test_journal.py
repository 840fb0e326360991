"""Answers are on disk as they are given; a cell that died goes on, and memory can end for one sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from harness.journal import Journal, read_journal
from harness.measure.accuracy import answer_all, summarise
from harness.measure.cache import EntryCache
from harness.measure.views import EncodedView, load_view
from harness.records import SampleOutcome
from harness.task import Sample, View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures


class DiesError(Exception):
    """Stands for whatever ends a process."""


class Watched:
    """A model that counts what it is asked, and fails from a given sample on."""

    def __init__(self, model: FusedModel, error: Exception | None = None, after: int = 0) -> None:
        self.model, self.error, self.after = model, error, after
        self.asked: list[str] = []

    def answer(
        self, samples: Sequence[Sample], features: Sequence[Tensor], max_new_tokens: int
    ) -> list[list[str]]:
        if self.error is not None and len(self.asked) >= self.after:
            raise self.error
        self.asked += [sample.id for sample in samples]
        return self.model.answer(samples, features, max_new_tokens)


@pytest.fixture
def view(models: dict[str, FusedModel], tmp_path: Path, pictures: type[Pictures]) -> EncodedView:
    asked = View(frames=2, height=16, width=16, limit=6)
    return load_view(NAME, Pictures(), asked, models["casa"], "cpu", EntryCache(tmp_path / "c", print))


def ask(model: Watched, view: EncodedView, journal: Journal, batch: int = 1) -> list[object]:
    return list(
        answer_all(
            model,  # type: ignore[arg-type]
            Pictures(),
            view,
            device="cpu",
            batch=batch,
            progress=lambda line: None,
            journal=journal,
        )
    )


def test_a_cell_that_died_goes_on_where_it_stopped(
    models: dict[str, FusedModel], view: EncodedView, tmp_path: Path
) -> None:
    whole = ask(Watched(models["casa"]), view, Journal(None, view.frames_digest))
    path = tmp_path / "cell.journal.jsonl"
    with pytest.raises(DiesError):
        ask(Watched(models["casa"], DiesError(), after=2), view, Journal(path, view.frames_digest))
    read = read_journal(path)
    assert read is not None
    done = {one.sample for one in read[1]}
    assert done == {sample.id for sample in view.samples[:2]}
    again = Watched(models["casa"])
    assert ask(again, view, Journal(path, view.frames_digest)) == whole
    assert again.asked == [sample.id for sample in view.samples[2:]]


@pytest.mark.parametrize(
    "text", ["one\u2028two\u2029", "a\x85b\x0bc\x0cd", "\x1c\x1d\x1e", "line\nbreak\r\n"]
)
def test_answers_may_hold_whatever_ends_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cell.journal.jsonl"
    given = [outcome(f"s{number}", text) for number in range(3)]
    Journal(path, "frames").add(given)
    read = read_journal(path)
    assert read is not None
    assert read[1] == given
    again = Journal(path, "frames")
    assert [again.kept(one.sample, one.question) for one in given] == given


def test_a_process_that_dies_as_it_goes_on_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cell.journal.jsonl"
    given = [outcome(f"s{number}", "yes") for number in range(3)]
    Journal(path, "frames").add(given)

    def die(*_: object) -> None:
        raise DiesError

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, die)
            with pytest.raises(DiesError):
                Journal(path, "frames")
        read = read_journal(path)
        assert read is not None
        assert read[1] == given


def outcome(sample: str, prediction: str) -> SampleOutcome:
    return SampleOutcome(
        sample=sample,
        group=sample,
        question="q",
        kind="k",
        prediction=prediction,
        answer="yes",
        status="scored",
        value=1.0,
        oracle_values={},
        chance=None,
    )


def test_a_journal_of_other_frames_does_not_count(
    models: dict[str, FusedModel], view: EncodedView, tmp_path: Path
) -> None:
    path = tmp_path / "cell.journal.jsonl"
    ask(Watched(models["casa"]), view, Journal(path, "other frames"))
    again = Watched(models["casa"])
    ask(again, view, Journal(path, view.frames_digest))
    assert len(again.asked) == len(view.samples)


def test_a_line_that_a_kill_cut_off_is_asked_again(
    models: dict[str, FusedModel], view: EncodedView, tmp_path: Path
) -> None:
    path = tmp_path / "cell.journal.jsonl"
    whole = ask(Watched(models["casa"]), view, Journal(path, view.frames_digest))
    path.write_text(path.read_text()[:-30])
    again = Watched(models["casa"])
    assert ask(again, view, Journal(path, view.frames_digest)) == whole
    assert again.asked == [view.samples[-1].id]


def test_what_does_not_fit_into_memory_is_an_outcome_of_its_own(
    models: dict[str, FusedModel], view: EncodedView
) -> None:
    class Small(Watched):
        def answer(
            self, samples: Sequence[Sample], features: Sequence[Tensor], max_new_tokens: int
        ) -> list[list[str]]:
            if any(sample.id == view.samples[1].id for sample in samples):
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
            return super().answer(samples, features, max_new_tokens)

    outcomes = ask(Small(models["casa"]), view, Journal(None, ""), batch=4)
    statuses = {one.sample: one.status for one in outcomes}  # type: ignore[attr-defined]
    assert statuses.pop(view.samples[1].id) == "out_of_memory"
    assert set(statuses.values()) <= {"scored", "unparsed"}
    frames = {one.sample: one.frames_digest for one in outcomes}  # type: ignore[attr-defined]
    assert all(frames.values())
    assert len(set(frames.values())) == len(view.samples)
    accuracy = summarise(outcomes)  # type: ignore[arg-type]
    assert accuracy.errors == len(view.samples[1].questions)
