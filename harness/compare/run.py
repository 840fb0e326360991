"""Compare two sides: answers question by question, bytes as counted, times beside each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.answers import Question, mean_over, mean_scores, scores
from harness.compare.interleaved import TimeRatio, time_ratios
from harness.compare.places import Filters, Met, Model, meet
from harness.compare.results import Answers, Bytes, PairResult, PlaceResult, Times
from harness.compare.sides import Side
from harness.left_out import LeftOut, Pair, left_out
from harness.records import Memory, SampleOutcome, Timing
from harness.stats.multiple import holm
from harness.stats.paired import PairedDifference, PairedScores, paired_differences
from harness.stats.seeds import SeedSpread, seed_difference
from harness.store import Problem, Store, uncollected
from harness.superseded import RANDOM

MACHINE = ("cpu", "cpu_count", "threads", "gpu", "torch")
"""Fields of the environment that times depend on."""

TIMES: dict[str, Callable[[Model], Timing | None]] = {
    "encode": lambda model: model.measures.latency.encode,
    "prefill": lambda model: model.measures.latency.prefill,
    "per frame": lambda model: model.measures.latency.per_frame,
    "per token": lambda model: model.measures.latency.per_token,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Answers to the same questions, before the tests of the whole family are run."""

    kind: str | None
    models: tuple[int, int]
    means: tuple[float, float]
    seeds_apart: bool
    seed_spread: SeedSpread | None
    paired: PairedScores
    without: tuple[LeftOut, ...]

    def tested(self, difference: PairedDifference, adjusted_p: float) -> Answers:
        found = Answers(
            kind=self.kind,
            first=self.means[0],
            second=self.means[1],
            models=self.models,
            difference=difference,
            adjusted_p=adjusted_p,
            seeds_apart=self.seeds_apart,
            seed_spread=self.seed_spread,
            equal=list(self.paired.first) == list(self.paired.second),
        )
        return replace(found, without=self.without) if found.borne else found


@dataclass(frozen=True, slots=True)
class _Draft:
    """What two sides have in common, before the tests."""

    sides: tuple[Side, Side]
    places: list[tuple[Met, list[_Asked]]]
    refused: list[str]
    problems: list[Problem]
    interleaved: tuple[TimeRatio, ...]


def compare_sides(pairs: Sequence[tuple[Side, Side]], filters: Filters | None = None) -> list[PairResult]:
    """Compare every pair of sides; Holm's correction is over all of their places and kinds of questions.

    Raises UsageError for a filter that no place meets.
    """
    filters = filters or Filters()
    with uncollected():
        drafts = [_draft(pair, filters) for pair in pairs]
    asked = [one for draft in drafts for _, there in draft.places for one in there]
    differences = paired_differences([one.paired for one in asked])
    adjusted = holm([difference.p_value for difference in differences])
    answers = iter(
        [
            one.tested(difference, p_value)
            for one, difference, p_value in zip(asked, differences, adjusted, strict=True)
        ]
    )
    return [
        PairResult(
            first=draft.sides[0],
            second=draft.sides[1],
            places=tuple(_place(met, tuple(next(answers) for _ in there)) for met, there in draft.places),
            refused=tuple(draft.refused),
            problems=tuple(draft.problems),
            interleaved=draft.interleaved,
        )
        for draft in drafts
    ]


def _draft(pair: tuple[Side, Side], filters: Filters) -> _Draft:
    met, refused = meet(*pair, filters)
    interleaved, problems = time_ratios(*pair, filters)
    draft = _Draft(pair, [], refused, problems, interleaved)
    for one in met:
        read = [
            [_outcomes(Store(side.run), model, draft.problems) for model in models]
            for side, models in zip(pair, (one.first, one.second), strict=True)
        ]
        scored = any(model.measures.accuracy is not None for model in (*one.first, *one.second))
        # A model whose answers cannot be read must not make the others look like all there are.
        whole = [[found for found in side if found is not None] for side in read]
        there: list[_Asked] = []
        if all(len(found) == len(side) for found, side in zip(whole, read, strict=True)):
            there = _ask(one, whole[0], whole[1])
        if scored and not there:
            draft.refused.append(
                f"{one.place}: no question was scored on both sides, only costs are compared"
            )
        draft.places.append((one, there))
    return draft


def _outcomes(store: Store, model: Model, problems: list[Problem]) -> tuple[SampleOutcome, ...] | None:
    if model.measures.accuracy is None:
        return None
    try:
        return store.samples(model.key.digest)
    except (OSError, ValueError) as error:
        reason = f"the answers to single questions cannot be read: {' '.join(str(error).split())[:200]}"
        problems.append(Problem(store.sidecar(model.key.digest), reason))
        return None


def _ask(
    met: Met, first: Sequence[Sequence[SampleOutcome]], second: Sequence[Sequence[SampleOutcome]]
) -> list[_Asked]:
    """All questions together, then each kind where there is more than one."""
    models = ([scores(one) for one in first], [scores(one) for one in second])
    means = [mean_scores(side) for side in models]
    described = {(one.sample, one.question): one for outcomes in (*first, *second) for one in outcomes}
    common = sorted(means[0].keys() & means[1].keys())
    kinds: dict[str, list[Question]] = {}
    for question in common:
        kinds.setdefault(described[question].kind, []).append(question)
    wanted: list[tuple[str | None, list[Question]]] = [(None, common)] if common else []
    wanted += sorted(kinds.items()) if len(kinds) > 1 else []
    asked = []
    for kind, questions in wanted:
        by_model = [[mean_over([one[q] for q in questions]) for one in side] for side in models]
        apart = [min(by_model[0]) > max(by_model[1]), min(by_model[1]) > max(by_model[0])]
        without = (
            _left_out(models if apart[0] else models[::-1], described) if kind is None and any(apart) else ()
        )
        seeds = [[model.key.seed for model in side] for side in (met.first, met.second)]
        asked.append(
            _Asked(
                kind=kind,
                models=(len(by_model[0]), len(by_model[1])),
                means=(mean_over(by_model[0]), mean_over(by_model[1])),
                seeds_apart=any(apart),
                seed_spread=seed_difference(
                    *(list(zip(s, values, strict=True)) for s, values in zip(seeds, by_model, strict=True))
                ),
                paired=_paired(means, questions, described),
                without=without,
            )
        )
    return asked


def _left_out(pair: Pair, described: Mapping[Question, SampleOutcome]) -> tuple[LeftOut, ...]:
    kinds = {question: one.kind for question, one in described.items()}
    groups = {question: one.group for question, one in described.items()}
    return left_out([pair], kinds, groups)[0]


def _paired(
    means: Sequence[Mapping[Question, float]],
    questions: Sequence[Question],
    described: Mapping[Question, SampleOutcome],
) -> PairedScores:
    return PairedScores(
        first=[means[0][question] for question in questions],
        second=[means[1][question] for question in questions],
        groups=[described[question].group for question in questions],
    )


def _place(met: Met, answers: tuple[Answers, ...]) -> PlaceResult:
    models = (*met.first, *met.second)
    memories = [model.measures.memory for model in models]
    sources = {None if memory is None else memory.source for memory in memories}
    same_source = len(sources) == 1 and None not in sources
    machines = {tuple(getattr(model.record.environment, name) for name in MACHINE) for model in models}
    return PlaceResult(
        place=met.place,
        setting=met.setting,
        answers=answers,
        # Tensors as counted and what an allocator held are two quantities.
        peak=_bytes(met, lambda memory: memory.peak_bytes) if same_source else None,
        state=_bytes(met, lambda memory: sum(memory.state_bytes.values()))
        if all(memory is not None and memory.state_bytes for memory in memories)
        else None,
        times=_times(met),
        same_machine=len(machines) == 1,
        random_weights=any(model.key.weights == RANDOM for model in models),
    )


def _bytes(met: Met, measure: Callable[[Memory], int]) -> Bytes:
    first, second = (
        round(statistics.median(measure(one.measures.memory) for one in side if one.measures.memory))
        for side in (met.first, met.second)
    )
    return Bytes(first=first, second=second)


def _times(met: Met) -> dict[str, Times]:
    found = {}
    for name, timing in TIMES.items():
        sides = []
        for models in (met.first, met.second):
            timings = [timing(model) for model in models]
            raw = [value for one in timings if one is not None for value in one.raw_ms]
            if raw:
                together = Timing(raw_ms=tuple(raw))
                sides.append((together.median_ms, *together.quartiles_ms))
        if len(sides) == 2:
            found[name] = Times(first=sides[0], second=sides[1])
    return found
